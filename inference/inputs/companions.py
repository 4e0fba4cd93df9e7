"""Companion files: what is carried over beside an image into its token shard, such as captions (`--keep`)."""

import os
import re
from typing import NamedTuple

ALL, NONE = "all", "none"
OWN_EXTENSIONS = ("tokens.npy", "tokens.json")
CAPTION_EXTENSIONS = ("caption", "cls", "json", "txt")
"""Extensions of loose files that `all` carries over with the image of the same name."""


class Keep(NamedTuple):
    """A choice of companion files by their extensions."""

    text: str
    extensions: frozenset[str]
    """The extensions that were named, in lower case; empty for all and none."""

    def keeps_member(self, extension: str) -> bool:
        """Return whether a file of a sample in a tar is carried over."""
        return extension not in OWN_EXTENSIONS and self._is_chosen(extension, self.text == ALL)

    def keeps_file(self, name: str) -> bool:
        """Return whether a loose file is carried over with the image of the same name."""
        extension = os.path.splitext(name)[1].lstrip(".")
        return self._is_chosen(extension, self.text == ALL and extension.lower() in CAPTION_EXTENSIONS)

    def _is_chosen(self, extension: str, otherwise: bool) -> bool:
        return extension.lower() in self.extensions if self.extensions else otherwise


KEEP_ALL = Keep(ALL, frozenset())


def parse_keep(text: str) -> Keep:
    """Parse `all`, `none`, or extensions such as `txt,json`; raise ValueError for anything else."""
    if text in (ALL, NONE):
        return Keep(text, frozenset())
    named = [part.strip().lstrip(".").lower() for part in text.split(",")]
    if not all(re.fullmatch(r"[^\s./\\]+(\.[^\s./\\]+)*", part) for part in named):
        raise ValueError(f"--keep is {text!r}, but must be all, none, or extensions such as txt,json.")
    return Keep(",".join(sorted(set(named))), frozenset(named))
