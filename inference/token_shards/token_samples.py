"""One image of a token shard, before it is written and after it is read back."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from ..inputs.samples import Companion


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """Return the smallest unsigned integer type that holds tokens below `vocab_size`."""
    return np.dtype(np.min_scalar_type(vocab_size - 1))


def parse_json(text: str | bytes) -> Any:
    """Return what JSON says, or None when it is damaged."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def is_grid(sides: Any, count: int) -> TypeGuard[list[int]]:
    """Return whether sides are a list of three integers q, y and x, that `count` tokens fill."""
    is_list = isinstance(sides, list) and len(sides) == 3 and all(type(side) is int and side > 0 for side in sides)
    return is_list and math.prod(sides) == count


class TokenSample(NamedTuple):
    """One image to write into a shard."""

    key: str
    tokens: np.ndarray
    """`q y x`, of `token_dtype`."""
    metadata: dict[str, Any]
    """`source`, `width` and `height` of the upright original, `sha256` of its file: plain JSON, which every format keeps."""
    companions: Sequence[Companion] = ()


class StoredSample(NamedTuple):
    """One image of a shard on disk, whose content is never trusted, and read on demand while its files are open."""

    key: str
    read_tokens: Callable[[], np.ndarray]
    """Raises ValueError when they are damaged."""
    read_metadata: Callable[[], Any]
    """Returns None, or raises ValueError, when it is missing or damaged."""
    companions: Mapping[str, Callable[[], bytes]] = MappingProxyType({})
    """What was carried over, such as a caption, by extension; each raises ValueError when it is damaged."""

    def tokens(self) -> np.ndarray:
        """Return unsigned integers `q y x`; raise ValueError for anything else."""
        tokens = self.read_tokens()
        if tokens.dtype.kind != "u" or tokens.ndim != 3 or not tokens.size:
            raise ValueError(f"its tokens are {tokens.dtype} {tokens.shape}, but must be unsigned integers q y x")
        return tokens

    def metadata(self) -> dict[str, Any]:
        """Return at least `source`, `width` and `height`; raise ValueError when one is missing."""
        metadata = self.read_metadata()
        if not isinstance(metadata, dict) or not isinstance(metadata.get("source"), str):
            raise ValueError("its metadata is missing or damaged")
        if not all(type(metadata.get(side)) is int and metadata[side] > 0 for side in ("width", "height")):
            raise ValueError("its metadata has no width and height")
        return metadata
