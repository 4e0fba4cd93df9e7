"""Token shards on disk: a file of samples, its sidecar, and the manifest of a folder."""
