"""Which shard owns a key: token spaces, shards with their epochs, the map of all shards, and routing by it. Pure."""
