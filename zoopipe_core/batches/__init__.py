"""The units of data: what readers yield, what validation accepts, what it rejects."""
