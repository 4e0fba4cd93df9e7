"""What a dataset returns: a row for each image, and batches of rows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...images.tars.blocks import DamagedShard
from ..token_shards.token_samples import StoredSample
from .folder import TokenFolder


class TokenRow(NamedTuple):
    """One image of a token shard."""

    tokens: Tensor
    """int64 `q y x`."""
    grid: tuple[int, int]
    """Rows and columns of the tokens, `(y, x)`."""
    key: str
    source: str
    """The image's file as tokenize-images was given it."""
    metadata: dict[str, Any]
    """`source`, `width` and `height` of the upright original, `sha256` of its file, and `view` where an image has several
    rows."""
    members: dict[str, bytes]
    """What was kept beside the image, such as a caption, by extension: `row.members["txt"].decode()`."""


class TokenBatch(NamedTuple):
    """Rows of one grid."""

    tokens: Tensor
    """int64 `b q y x`."""
    keys: list[str]
    sources: list[str]
    metadata: list[dict[str, Any]]
    members: list[dict[str, bytes]]


class LoadedRow(NamedTuple):
    """A row in memory, its tokens in the type that they are stored in."""

    key: str
    tokens: np.ndarray
    metadata: dict[str, Any]
    members: dict[str, bytes]

    def row(self) -> TokenRow:
        """Return the row as users get it."""
        _, y, x = self.tokens.shape
        tokens = torch.from_numpy(self.tokens.astype(np.int64))
        return TokenRow(tokens, (y, x), self.key, self.metadata["source"], self.metadata, self.members)


def load_row(sample: StoredSample, folder: TokenFolder, shard: str, wanted: frozenset[str] | None) -> LoadedRow:
    """Read a sample while its files are open, with the members of some extensions, None for all.

    Raises DamagedShard when it cannot be one of the folder's tokenizer.
    """
    try:
        tokens = sample.tokens()
        check_tokens(tokens, folder.manifest.num_codebooks, folder.manifest.vocab_size)
        names = [name for name in sample.companions if wanted is None or name in wanted]
        members = {name: sample.companions[name]() for name in names}
        return LoadedRow(sample.key, tokens, sample.metadata(), members)
    except ValueError as error:
        raise DamagedShard(
            f"{folder.store.path_of(shard)}: {sample.key}: {error}; verify-tokens lists all that is damaged."
        ) from None


def check_tokens(tokens: np.ndarray, num_codebooks: int, vocab_size: int) -> None:
    """Raise ValueError, with a phrase, for tokens `q y x` that have another number of codebooks or no such code."""
    if len(tokens) != num_codebooks:
        raise ValueError(f"its tokens have {len(tokens)} codebooks, not {num_codebooks}")
    if (highest := int(tokens.max())) >= vocab_size:
        raise ValueError(f"a token is {highest}, but the codes are 0 to {vocab_size - 1}")


def collate_rows(rows: Sequence[TokenRow]) -> TokenBatch:
    """Join rows of one grid; raise ValueError when their grids differ."""
    grids = sorted({row.grid for row in rows})
    if len(grids) > 1:
        raise ValueError(
            f"A batch holds grids of {grids[0]} and {grids[-1]} tokens, which are not one tensor: give a collate_fn of your "
            "own, such as one that joins the ids of its rows, or batch_size=1."
        )
    tokens, _, keys, sources, metadata, members = zip(*rows, strict=True)
    return TokenBatch(torch.stack(tokens), list(keys), list(sources), list(metadata), list(members))
