"""The headers of a tar, walked block by block."""


class DamagedShard(ValueError):
    """A tar that has lost something, or is none; the message is a sentence that names the file."""
