"""From a pydantic model to verdicts on batches."""
