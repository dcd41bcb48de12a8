"""What kernels can judge of a model: one rule for each field that they can judge at all."""
