"""Images to token shards and back: the Python API and the commands."""
