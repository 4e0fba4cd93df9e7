"""The gradient noise scale: the batch size at which noise and signal in the gradient are equal, for each module.

B_simple = tr(S) / |g|^2, where g is the mean gradient and S the covariance of the gradient of one image (McCandlish et
al., arXiv 1812.06162). Far below it a larger batch is nearly free progress, far above it nearly wasted. It is what the
rules of lr_scaling.py ask for.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..optimizer.muon_groups import uses_muon
from ..optimizer.routing import module_of


class Moments(NamedTuple):
    """Estimates, each without bias and either below 0 by chance, for a module's gradient."""

    signal: Tensor
    """|g|^2, a scalar."""
    noise: Tensor
    """tr(S), a scalar: the noise of one image."""


def squared_norms(gradients: Iterable[tuple[str, Tensor | None]]) -> dict[str, Tensor]:
    """Return the squared norm of the gradient of each module, from names and gradients of parameters; None is passed over.

    Give it `((name, parameter.grad) for ...)` before clipping, and divided by the loss scale of float16.
    """
    squares: dict[str, list[Tensor]] = defaultdict(list)
    for name, gradient in gradients:
        if gradient is not None:
            squares[module_of(name)].append(gradient.detach().float().square().sum())
    return {module: torch.stack(parts).sum() for module, parts in squares.items()}


def two_batch_moments(small: Tensor, big: Tensor, small_batch: int, big_batch: int) -> Moments:
    """Return the moments from squared norms of a mean gradient over a small and over a big batch.

    From E|G_B|^2 = |g|^2 + tr(S) / B at both sizes. The small batch may be part of the big one.
    """
    assert small_batch < big_batch
    signal = (big_batch * big - small_batch * small) / (big_batch - small_batch)
    noise = (small - big) / (1 / small_batch - 1 / big_batch)
    return Moments(signal, noise)


def momentum_moments(momentum: Tensor, gradient: Tensor, beta: float, batch: int, steps: float = math.inf) -> Moments:
    """Return the moments from squared norms of the bias-corrected momentum and of the gradient that just went into it.

    With the gradient steady over the momentum's memory, E|G|^2 = |g|^2 + tr(S) / B and E|m|^2 = |g|^2 + r tr(S) / B, where
    r = (1 - beta) (1 + beta^t) / ((1 + beta) (1 - beta^t)) after t steps, and (1 - beta) / (1 + beta) in the end. Hence, with
    rho = |m|^2 / |G|^2, the signal over the noise is (rho - r) / (1 - rho) (kexue.fm 11267). A gradient that drifts counts as
    noise. `steps` must be at least 2.
    """
    remaining = (1 - beta) * (1 + beta**steps) / ((1 + beta) * (1 - beta**steps))
    signal = (momentum - remaining * gradient) / (1 - remaining)
    noise = batch * (gradient - momentum) / (1 - remaining)
    return Moments(signal, noise)


@torch.no_grad()
def optimizer_moments(optimizer: Optimizer, model: nn.Module, batch: int) -> dict[str, Moments]:
    """Return the moments of each module from the momentum of AdamW and Muon; free but for reading both once.

    Call it after the optimizer's step, the gradients still in place: those that went into the momentum, clipping
    included. `batch` is in images over all processes. Both optimizers keep m <- m + (1 - beta)(G - m) from 0, divided here by
    1 - beta^t; for Muon that is the momentum before Nesterov's look ahead. The first two steps give nothing. Rows of a lazy
    AdamW are left out, for each of them has a momentum of other steps.
    """
    names = {parameter: name for name, parameter in model.named_parameters()}
    parts: dict[str, list[Moments]] = defaultdict(list)
    for group in optimizer.param_groups:
        if group.get("lazy"):
            continue
        for parameter in group["params"]:
            muon = uses_muon(parameter, group)
            key, beta = ("momentum_buffer", group["momentum"]) if muon else ("exp_avg", group["betas"][0])
            state = optimizer.state.get(parameter, {})
            steps = float(state.get("step", 0))
            if parameter.grad is None or steps < 2 or beta == 0:
                continue
            momentum = state[key].float().square().sum() / (1 - beta**steps) ** 2
            gradient = parameter.grad.float().square().sum()
            parts[module_of(names[parameter])].append(momentum_moments(momentum, gradient, beta, batch, steps))
    return {
        module: Moments(*(torch.stack(column).sum() for column in zip(*found, strict=True)))
        for module, found in parts.items()
    }


class NoiseScale:
    """Averages moments of each module over steps and divides the averages; its state goes into the checkpoint.

    Quotients of single steps would be far off: the signal of one step may be 0 or less.
    """

    def __init__(self, decay: float = 0.9):
        self._decay = decay
        self._averages: dict[str, Tensor] = {}

    def observe(self, moments: Mapping[str, Moments]) -> None:
        """Take in the moments of a step by module; nothing is read from the device."""
        for module, found in moments.items():
            fresh = torch.stack(found).detach()
            before = self._averages.get(module, torch.zeros_like(fresh)).to(fresh.device)
            # Both begin at 0, which their quotient does not see. A step that overflowed float16 is none.
            self._averages[module] = torch.where(fresh.isfinite().all(), before.lerp(fresh, 1 - self._decay), before)

    def summarise(self, prefix: str = "noise_scale") -> dict[str, float]:
        """Return the noise scale in images as `noise_scale/encoder` and so on, and `noise_scale/all` of all modules.

        A module whose averages are not both above 0, its signal still lost in the noise, is left out.
        """
        if not self._averages:
            return {}
        found = torch.stack(list(self._averages.values()))
        values = dict(zip([*self._averages, "all"], [*found.tolist(), found.sum(dim=0).tolist()], strict=True))
        return {
            f"{prefix}/{module}": noise / signal
            for module, (signal, noise) in values.items()
            if signal > 0 and noise > 0
        }

    def state_dict(self) -> dict[str, Any]:
        return {"averages": dict(self._averages)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._averages = dict(state["averages"])
