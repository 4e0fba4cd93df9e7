"""AdamW's moments of the gradients of each parameter, with the bias corrected."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer


class AdamMoments(NamedTuple):
    """Statistics of the gradient, each of the shape of its parameter."""

    root: Tensor
    """sqrt(v), where v is the mean of g^2."""
    deviation: Tensor
    """sqrt(v - m^2), the standard deviation of the gradient. It is biased low because m holds noise too: by 3 % at
    beta1 = 0.9 on pure noise, and by 10 to 20 % where the mean is several times the deviation."""
    below: Tensor
    """Whether the root that eps is added to is smaller than eps."""


@torch.no_grad()
def adam_moments(optimizer: Optimizer) -> dict[Tensor, AdamMoments]:
    """Return the moments of every parameter that AdamW has stepped, without a device sync.

    A row that a lazy AdamW has not stepped yet has moments of 0. A centred second moment stores v - m^2, from which v follows.
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
            found[parameter] = AdamMoments(raw.sqrt(), centred.sqrt(), second.sqrt() < group["eps"])
    return found
