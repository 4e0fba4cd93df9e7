"""What is in a folder of token shards, on one page."""
