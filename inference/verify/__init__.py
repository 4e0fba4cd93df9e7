"""What is wrong with a folder of token shards: every problem, by shard and key."""
