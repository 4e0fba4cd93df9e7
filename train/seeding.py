"""The random numbers of a run: the same on all processes for the weights, and those of each for the noise."""

import numpy as np
from accelerate.utils import set_seed


def seed_weights(seed: int) -> None:
    """Seed what weights are drawn from, alike on all processes."""
    set_seed(seed)


def seed_noise(seed: int, rank: int, step: int) -> None:
    """Seed torch on all devices, numpy and random, so that no two processes draw the same noise from `step` on."""
    set_seed(int(np.random.SeedSequence([seed, rank, step]).generate_state(1)[0]))
