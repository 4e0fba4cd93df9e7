"""A problem of a folder of token shards, and the checks that find them."""

from typing import NamedTuple


class Problem(NamedTuple):
    """Something that is wrong."""

    check: str
    """One of CHECKS."""
    shard: str
    """Name of a file of the folder."""
    key: str
    """Key of a row; empty for a problem of the whole file."""
    what: str
    """A phrase that says what it is."""

    def line(self) -> str:
        """Return a line for people."""
        return ": ".join(filter(None, [self.shard, self.key, self.what]))


CHECKS = {
    "manifest": "manifest.json and its totals",
    "sidecars": "a sidecar for each shard, and nothing else",
    "files": "sizes and SHA-256 of the files",
    "rows": "rows, their types, codebooks and codes",
    "grids": "grids of the sizes of the images",
    "keys": "keys that only one row has",
    "deep": "rows decoded and made again",
}
"""What each check looks at, in order."""
