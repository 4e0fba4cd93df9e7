"""Random numbers of a run, which differ between its processes."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from accelerate.utils import set_seed


def seed_noise(seed: int, rank: int, step: int) -> None:
    """Seed torch on all devices, numpy and random, so that no two processes draw the same noise from `step` on."""
    set_seed(int(np.random.SeedSequence([seed, rank, step]).generate_state(1)[0]))


@contextmanager
def preserve_rng_state() -> Iterator[None]:
    """Restore the state of all generators after the body, so that one process alone may draw in it."""
    plain, legacy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_available() else []):
            yield
    finally:
        random.setstate(plain)
        np.random.set_state(legacy)
