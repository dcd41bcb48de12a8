"""One file a format, input and output side by side; `base` holds the contract."""
