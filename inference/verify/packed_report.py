"""What verify-tokens says of packed sequences."""

from typing import Any, NamedTuple

from ...tokenizer.wording import pluralize
from ..packed_shards.manifest import PackedManifest
from .problems import Problem
from .report import check_lines, verdict_lines

PACKED_CHECKS = {
    "manifest": "manifest.json, totals, vocabulary, tokenizer",
    "sidecars": "a sidecar for each shard, and nothing else",
    "files": "sizes and SHA-256 of the files",
    "rows": "rows, their ids, documents and loss masks",
    "images": "images read from their ids, token by token",
    "keys": "keys that only one document has",
}
"""What each check looks at, in order."""


class PackedReport(NamedTuple):
    """All that was found in a folder of packed sequences."""

    folder: str
    manifest: PackedManifest
    shards: int
    """Sidecars."""
    files: int
    size: int
    """Bytes of the files."""
    rows: int
    images: int
    problems: list[Problem]

    def as_dict(self) -> dict[str, Any]:
        """Return everything, for a program."""
        return {
            "folder": self.folder,
            "whole": not self.problems,
            "fingerprint": self.manifest.fingerprint,
            "settings": self.manifest.settings.model_dump(),
            "shards": self.shards,
            "files": self.files,
            "bytes": self.size,
            "rows": self.rows,
            "images": self.images,
            "checks": {name: sum(problem.check == name for problem in self.problems) for name in PACKED_CHECKS},
            "problems": [problem._asdict() for problem in self.problems],
        }

    def lines(self) -> list[str]:
        """Return lines for people; all but those of the problems have at most 80 columns."""
        checked = {
            "manifest": "1",
            "sidecars": f"{self.shards:,}",
            "files": f"{self.files:,}",
            "rows": f"{self.rows:,}",
        }
        checked |= {"images": f"{self.images:,}", "keys": f"{self.images:,}"}
        shards = (
            f"{pluralize(self.rows, 'row')} of {pluralize(self.images, 'image')} in {pluralize(self.shards, 'shard')}"
        )
        return [
            *check_lines(checked, PACKED_CHECKS, self.problems),
            *verdict_lines(self.folder, shards, self.size, PACKED_CHECKS, self.problems),
        ]
