"""Token shards back to images."""
