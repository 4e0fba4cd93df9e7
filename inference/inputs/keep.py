"""Which files beside an image are carried over into its token shard."""

import re
from typing import NamedTuple

ALL, NONE = "all", "none"
OWN_EXTENSIONS = ("tokens.npy", "tokens.json")
"""What vistok itself writes for an image."""
CAPTION_EXTENSIONS = ("caption", "cls", "json", "txt")
"""Extensions of loose files that `all` takes for something about the image of the same name."""


class Keep(NamedTuple):
    """A choice of files by their extensions."""

    text: str
    """As users type it."""
    extensions: frozenset[str]
    """The extensions that were named, in lower case; none when the text is all or none."""

    def member(self, extension: str) -> bool:
        """Return whether a file of a sample in a tar is carried over."""
        return self._is_chosen(extension, self.text == ALL) and extension not in OWN_EXTENSIONS

    def beside(self, extension: str) -> bool:
        """Return whether a loose file that has the name of an image, but for the extension, is carried over."""
        is_caption = self.text == ALL and extension.lower() in CAPTION_EXTENSIONS
        return self._is_chosen(extension, is_caption) and extension not in OWN_EXTENSIONS

    def _is_chosen(self, extension: str, otherwise: bool) -> bool:
        return extension.lower() in self.extensions if self.extensions else otherwise


def parse_keep(text: str) -> Keep:
    """Parse `all`, `none`, or extensions such as `txt,json`; raise ValueError for anything else."""
    if text in (ALL, NONE):
        return Keep(text, frozenset())
    named = [part.strip().lstrip(".").lower() for part in text.split(",")]
    if not all(re.fullmatch(r"[^\s./\\]+(\.[^\s./\\]+)*", part) for part in named):
        raise ValueError(f"--keep is {text!r}, but must be all, none, or extensions such as txt,json.")
    return Keep(",".join(sorted(set(named))), frozenset(named))


KEEP_ALL = Keep(ALL, frozenset())
