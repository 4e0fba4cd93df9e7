"""The learning rate as a function of the step."""

import math

from .config import OptimizerConfig


def lr_ratio(step: int, steps: int, config: OptimizerConfig) -> float:
    """Return the rate of step 1 to `steps` as a fraction of the peak: linear warm-up, then half a cosine down."""
    if step <= config.warmup:
        return step / config.warmup
    progress = (step - config.warmup) / max(1, steps - config.warmup)
    cosine = (1 + math.cos(math.pi * progress)) / 2
    return config.final_lr_ratio + (1 - config.final_lr_ratio) * cosine
