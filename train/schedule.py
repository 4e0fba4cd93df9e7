"""The learning rate as a function of the step."""

import math

from .optimizer import OptimizerConfig


def learning_rate(step: int, steps: int, config: OptimizerConfig) -> float:
    """Return the rate of step `step` (from 0) of `steps`: linear warm-up, then half a cosine down to the final share."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, steps - config.warmup)
    cosine = (1 + math.cos(math.pi * min(1.0, progress))) / 2
    return config.lr * (config.final_lr + (1 - config.final_lr) * cosine)
