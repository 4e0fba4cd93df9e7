"""Companion files: what is carried over beside an image into its token shard, such as captions (`--keep`)."""

import os
import re
from collections.abc import Iterable
from typing import NamedTuple

from ...images.finding.inputs import IMAGE_EXTENSIONS, is_image

ALL, NONE = "all", "none"
OWN_EXTENSIONS = ("tokens.npy", "tokens.json")
"""What vistok itself writes for an image."""
CAPTION_EXTENSIONS = ("caption", "cls", "json", "txt")
"""Extensions of loose files that `all` carries over with the image of the same name."""


class Keep(NamedTuple):
    """A choice of companion files by their extensions."""

    text: str
    """As users type it."""
    extensions: frozenset[str]
    """The extensions that were named, in lower case; empty for all and none."""

    def keeps_member(self, extension: str) -> bool:
        """Return whether a file of a sample in a tar is carried over."""
        return self._is_chosen(extension, self.text == ALL) and extension not in OWN_EXTENSIONS

    def keeps_file(self, name: str) -> bool:
        """Return whether a loose file is carried over with the image of the same name."""
        extension = os.path.splitext(name)[1].lstrip(".")
        is_caption = self.text == ALL and extension.lower() in CAPTION_EXTENSIONS
        return self._is_chosen(extension, is_caption) and extension not in OWN_EXTENSIONS

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


class FolderContent(NamedTuple):
    """The files of one folder, by their names without endings (stems)."""

    images: set[str]
    """Stems of images."""
    others: dict[str, list[str]]
    """Names of all other files, by stem."""


def read_folder(folder: str) -> FolderContent:
    """List a folder, not those in it; raise PermissionError when it may be entered but not listed."""
    return _content(folder, os.listdir(folder or "."))


def guess_folder(folder: str, stem: str, keep: Keep) -> FolderContent:
    """Find what may belong to the file `stem` in a folder that may not be listed, by trying names."""
    endings = [*IMAGE_EXTENSIONS, *(f".{extension}" for extension in (*CAPTION_EXTENSIONS, *keep.extensions))]
    names = {stem + ending for ending in endings}
    return _content(folder, [name for name in names if os.path.isfile(os.path.join(folder, name))])


def _content(folder: str, names: Iterable[str]) -> FolderContent:
    content = FolderContent(set(), {})
    for name in sorted(names):
        stem = os.path.splitext(name)[0]
        if is_image(name):
            content.images.add(stem)
        elif not os.path.isdir(os.path.join(folder, name)):
            content.others.setdefault(stem, []).append(name)
    return content
