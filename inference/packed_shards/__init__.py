"""Packed sequences on disk: rows of ids with their loss mask and documents, a sidecar a shard, and the manifest of a folder."""
