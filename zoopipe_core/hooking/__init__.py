"""How hooks are applied to batches; `chain` is where it begins."""
