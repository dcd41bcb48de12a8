"""What a `PipeManager` is made of: how a load becomes shards, how workers are watched, what is reported of all."""
