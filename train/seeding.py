"""The random numbers of a run: the same on all processes for the weights, and those of each for the noise."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from accelerate.utils import set_seed


def seed_weights(seed: int) -> None:
    """Seed what weights are drawn from, alike on all processes."""
    set_seed(seed)


def seed_noise(seed: int, rank: int, step: int) -> None:
    """Seed torch on all devices, numpy and random, so that no two processes draw the same noise from `step` on."""
    set_seed(int(np.random.SeedSequence([seed, rank, step]).generate_state(1)[0]))


@contextmanager
def untouched_noise() -> Iterator[None]:
    """Leave the random numbers of the run as they were before the body: one process alone may draw in it."""
    plain, legacy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_available() else []):
            yield
    finally:
        random.setstate(plain)
        np.random.set_state(legacy)
