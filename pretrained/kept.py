"""Where imports of public tokenizers are kept, and which commit of which revision they are of."""

import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from ..tokenizer.files import write_whole
from .importers.table import VERSION

FOLDER = "vistok"
"""Folder of all imports within that of the hub's caches."""
CONFIG_FILE = "config.json"
COMMIT = re.compile(r"[0-9a-f]{40}")


class Kept(NamedTuple):
    """The imports of one public tokenizer."""

    root: Path
    """Folder of its repository, which may have other tokenizers too."""
    name: str

    def folder(self, commit: str) -> Path:
        """Return where the import of a commit is, or will be."""
        return self.root / commit / f"v{VERSION}" / self.name

    def commit(self, revision: str) -> str | None:
        """Return the commit that a revision was when it was last imported; None if it never was."""
        if COMMIT.fullmatch(revision):
            return revision
        with suppress(OSError):
            commit = self._ref(revision).read_text()
            return commit if COMMIT.fullmatch(commit) else None
        return None

    def import_of(self, revision: str) -> Path | None:
        """Return the folder of the last import of a revision, if there is one of this version of the importers."""
        commit = self.commit(revision)
        return self.folder(commit) if commit and (self.folder(commit) / CONFIG_FILE).is_file() else None

    def revisions(self) -> list[str]:
        """Return the branches and tags that are imported."""
        with suppress(OSError):
            names = sorted(unquote(path.name) for path in self._ref("any").parent.iterdir())
            return [name for name in names if self.import_of(name)]
        return []

    def keep(self, revision: str, commit: str) -> None:
        """Note the commit of a revision that was imported; raise OSError."""
        if not COMMIT.fullmatch(revision):
            write_whole(self._ref(revision), commit.encode())

    def _ref(self, revision: str) -> Path:
        return self.root / "refs" / self.name / quote(revision, safe="")
