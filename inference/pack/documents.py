"""Samples to documents, many at a time: the captions in one batch, and the images of a grid in one tensor."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch

from ...sequences.layouts.base import Layout
from ...sequences.loss_mask import TEXT, kind_of_ids
from ...sequences.text import TextTokenizer
from ...sequences.vocabulary import Vocabulary
from ..packed_shards.digests import digest_of_text, digest_of_tokens
from ..packed_shards.rows import PackedDocument
from .samples import CaptionedSample

MAX_GROUP = 1 << 21
"""Tokens that become ids together."""


class Document(NamedTuple):
    """The ids of a sample, in parts."""

    sample: CaptionedSample
    before: list[int]
    image: np.ndarray
    after: list[int]

    @property
    def length(self) -> int:
        """The number of ids, without BOS and EOS."""
        return len(self.before) + len(self.image) + len(self.after)

    def at(self, start: int, has_bos: bool, has_eos: bool) -> PackedDocument:
        """Describe it as the part of a row that begins at `start`."""
        key, source, tokens, width, height, before, after, _ = self.sample
        begin = start + has_bos + len(self.before)
        stop = begin + len(self.image)
        q, y, x = tokens.shape
        return PackedDocument(
            key=key,
            span=(start, stop + len(self.after) + has_eos),
            image=(begin, stop),
            grid=(q, y, x),
            tokens=digest_of_tokens(tokens),
            text=digest_of_text((before, after)),
            source=source,
            width=width,
            height=height,
        )


class TextOnly:
    """Encodes texts, and sees to it that no id of an image or of its structure is among theirs."""

    def __init__(self, text: TextTokenizer, vocabulary: Vocabulary):
        self._text = text
        self._is_text = (kind_of_ids(vocabulary) == TEXT).numpy()

    def encode(self, texts: Sequence[str]) -> list[list[int] | str]:
        """Return the ids of each text, or a phrase that says why there are none; an empty text has no ids."""
        spoken = [text for text in texts if text]
        encoded = iter(self._encoded(spoken) if spoken else [])
        rows: list[list[int] | str] = [next(encoded) if text else [] for text in texts]
        lengths = [0 if isinstance(row, str) else len(row) for row in rows]
        ids = np.fromiter(chain.from_iterable(row for row in rows if not isinstance(row, str)), np.int64, sum(lengths))
        if ids.size and not (is_text := self._allowed(ids)).all():
            owners = np.repeat(np.arange(len(rows)), lengths)[~is_text]
            for index, number in zip(owners[::-1].tolist(), ids[~is_text][::-1].tolist(), strict=True):
                rows[index] = f"its text has the id {number}, which is one of images or unknown to the vocabulary"
        return rows

    def _encoded(self, texts: Sequence[str]) -> Sequence[list[int] | str]:
        try:
            return self._text.encode_batch(texts)
        except ValueError:
            return list(map(self._one, texts))

    def _one(self, text: str) -> list[int] | str:
        try:
            return self._text.encode(text)
        except ValueError as error:
            return f"its text has no ids ({str(error).rstrip('.')})"

    def _allowed(self, ids: np.ndarray) -> np.ndarray:
        return self._is_text[np.minimum(ids, len(self._is_text) - 1)] & (ids < len(self._is_text))


def image_ids(samples: Sequence[CaptionedSample], layout: Layout, dtype: str) -> list[np.ndarray | str]:
    """Return the ids of each image, those of a grid together, or a phrase that says why the layout cannot write it."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, sample in enumerate(samples):
        groups.setdefault(sample.tokens.shape, []).append(index)
    found: list[np.ndarray | str] = [""] * len(samples)
    for shape, members in groups.items():
        size = max(1, MAX_GROUP // int(np.prod(shape)))
        for first in range(0, len(members), size):
            part = members[first : first + size]
            tokens = torch.from_numpy(np.stack([samples[index].tokens for index in part]).astype(np.int64))
            for index, ids in zip(part, _ids(tokens, layout, dtype), strict=True):
                found[index] = ids
    return found


def _ids(tokens: torch.Tensor, layout: Layout, dtype: str) -> Sequence[np.ndarray | str]:
    try:
        ids: np.ndarray = layout.ids(tokens).numpy().astype(dtype)
    except ValueError as error:
        if len(tokens) > 1:  # one by one, to say which
            return [each for one in tokens.split(1) for each in _ids(one, layout, dtype)]
        return [f"its tokens have no ids ({str(error).rstrip('.')})"]
    return list(ids)
