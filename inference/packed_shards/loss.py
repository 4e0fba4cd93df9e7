"""Where a row has a loss."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .manifest import PackSettings
from .rows import PackedDocument

LOSSES = {"image": ("image",), "text": ("text",), "both": ("image", "text")}
"""Parts with a loss, by --loss."""
MASKS = {
    "target": "the id itself is to be predicted, as labels of transformers have it",
    "prediction": "the next id is to be predicted, as packed datasets of Megatron-Bridge have it",
}
"""What a 1 says, by --mask-at."""


class LossRule(NamedTuple):
    """Which ids of a document have a loss.

    BOS and padding have none. What the layout gave is the image; EOS belongs to the part before it.
    """

    parts: tuple[str, ...]
    has_bos: bool
    has_eos: bool
    is_shifted: bool

    def spans(self, document: PackedDocument) -> list[tuple[int, int]]:
        """Return first index and end of each run of ids with a loss, as indices of the row."""
        (first, end), (begin, stop) = document.span, document.image
        parts = [("text", first + self.has_bos, begin), ("image", begin, stop)]
        if stop < end - self.has_eos:
            parts.append(("text", stop, end))
        else:
            parts[-1] = ("image", begin, end)
        spans = [(start, last) for part, start, last in parts if part in self.parts and start < last]
        return [(max(first, start - 1), last - 1) for start, last in spans] if self.is_shifted else spans

    def has_loss(self, mask: np.ndarray) -> bool:
        """Return whether something is to be predicted in a row `n`, whose first id nothing predicts."""
        return bool((mask[:-1] if self.is_shifted else mask[1:]).any())

    def mask(self, documents: Sequence[PackedDocument], length: int) -> np.ndarray:
        """Return the mask of a row, uint8."""
        mask = np.zeros(length, np.uint8)
        for document in documents:
            for first, last in self.spans(document):
                mask[first:last] = 1
        return mask


def loss_rule(settings: PackSettings) -> LossRule:
    """Return the rule of a folder."""
    return LossRule(
        LOSSES[settings.loss], settings.bos is not None, settings.eos is not None, settings.mask_at == "prediction"
    )
