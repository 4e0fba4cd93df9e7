"""Rows of a token shard to samples with their text, those without a caption and those that cannot be used."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from ..inputs.samples import Failure
from ..packed_shards.template import MissingCaptionError, Template, extensions_of
from ..token_dataset.rows import LoadedRow

ON_MISSING = {
    "skip": "leaves the image out and counts it",
    "image": "makes a document of the image alone",
}


class CaptionedSample(NamedTuple):
    """An image, and the text before and after it."""

    key: str
    source: str
    tokens: np.ndarray
    """`q y x`."""
    width: int
    height: int
    before: str
    after: str
    has_caption: bool


class Sieve:
    """Puts the text of a template to each row, and keeps account of every one."""

    def __init__(self, template: Template, on_missing: str):
        self._template = template
        self._skips = on_missing == "skip"
        self.skipped: list[str] = []
        self.failures: list[Failure] = []
        self.missing: Counter[str] = Counter()
        """How many images lack each member that the template names."""
        self.there: set[str] = set()
        """Members that images have."""
        self.wanted = frozenset(ext for name in template.member_names() for ext in extensions_of(name))
        """Extensions of the members to read."""

    def sample(self, row: LoadedRow) -> CaptionedSample | None:
        """Return the sample of a row; None when it is skipped or failed, which is noted."""
        facts = row.metadata
        try:
            before, after = self._template.render(row.members)
            has_caption = True
        except MissingCaptionError as error:
            self.missing[str(error)] += 1
            if self._skips:
                self.skipped.append(row.key)
                return None
            before, after, has_caption = "", "", False
        except ValueError as error:
            self.fail(row.key, facts["source"], str(error))
            return None
        return CaptionedSample(
            row.key, facts["source"], row.tokens, facts["width"], facts["height"], before, after, has_caption
        )

    def fail(self, key: str, source: str, reason: str) -> None:
        """Note an image that cannot be packed."""
        self.failures.append(Failure(key, source, reason))
