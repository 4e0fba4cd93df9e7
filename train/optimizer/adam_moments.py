"""What AdamW remembers of the gradients of each parameter, its bias corrected."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer


class Moments(NamedTuple):
    """Figures of each value of a parameter, of its shape."""

    root: Tensor
    """sqrt(v), v being the mean of g^2."""
    deviation: Tensor
    """sqrt(v - m^2), the standard deviation of the gradient. It is low, for m holds noise too: by 3 % at beta1 = 0.9 on
    gradients that are noise, and by 10 to 20 % on those whose mean is several times their deviation."""
    below: Tensor
    """Whether what eps is added to is smaller than eps."""


@torch.no_grad()
def adam_moments(optimizer: Optimizer) -> dict[Tensor, Moments]:
    """Return the moments of every parameter that AdamW has moved; nothing is read from the device.

    A row that a lazy AdamW has not moved yet has moments of 0. Where the second moment is centred, v - m^2 is what is
    remembered and v follows from it.
    """
    found = {}
    for group in optimizer.param_groups:
        beta1, beta2 = group["betas"]
        for parameter in group["params"]:
            state = optimizer.state.get(parameter, {})
            if "exp_avg_sq" not in state:
                continue
            steps = state["step"].clamp_min(1)
            if steps.ndim:  # a counter for each row
                steps = steps.to(parameter.device)
            mean = state["exp_avg"].float() / (1 - beta1**steps)
            second = state["exp_avg_sq"].float() / (1 - beta2**steps)
            if group.get("second_moment") == "centred":
                raw, centred = second + mean.square(), second
            else:
                raw, centred = second, (second - mean.square()).clamp_min(0)
            found[parameter] = Moments(raw.sqrt(), centred.sqrt(), second.sqrt() < group["eps"])
    return found
