"""Images to token shards: what is done, what is missing, and the work in between."""
