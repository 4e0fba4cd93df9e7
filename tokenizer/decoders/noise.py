"""Noise of a seed: the same numbers on every device and with every version of torch, but for a last bit of numpy's sines."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..numerics.transfer import to_device

MAX_SEED = (1 << 63) - 1
KEPT = 1 << 22
"""Max numbers of noise that is kept for the next image (16 MB)."""


def check_seed(seed: object) -> int:
    """Return a seed; raise ValueError unless it is a whole number from 0 to 2**63 - 1."""
    if isinstance(seed, int | np.integer) and not isinstance(seed, bool) and 0 <= seed <= MAX_SEED:
        return int(seed)
    raise ValueError(f"seed is {seed!r}, but must be a whole number from 0 to 2**63 - 1.")


def seeded_noise(seed: int, shape: tuple[int, int, int], device: torch.device) -> Tensor:
    """Return float32 numbers of a standard normal distribution, `c h w`, that must not be changed in place.

    They depend on seed and shape alone: torch's and numpy's generators promise no such thing across versions and devices.
    Raises ValueError when the seed is out of range.
    """
    draw = _kept if shape[0] * shape[1] * shape[2] <= KEPT else _drawn
    return to_device(torch.from_numpy(draw(check_seed(seed), shape)), device)


def _drawn(seed: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Apply the transform of Box and Muller to the stream of Philox, a counter-based generator (Salmon et al. 2011)."""
    count = shape[0] * shape[1] * shape[2]
    pairs = (count + 1) // 2
    raw = np.random.Philox(key=seed).random_raw(2 * pairs) >> np.uint64(11)
    uniform = (raw + 0.5) * 2.0**-53  # in (0, 1)
    radius, angle = np.sqrt(-2 * np.log(uniform[:pairs])), 2 * np.pi * uniform[pairs:]
    normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
    return normal.astype(np.float32).reshape(shape)


_kept = lru_cache(maxsize=2)(_drawn)
