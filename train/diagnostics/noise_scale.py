"""The gradient noise scale of each module: the batch size at which noise and signal in the gradient are equal.

B_simple = tr(S) / |g|^2, where g is the mean gradient and S the covariance of the gradient of one image (McCandlish et
al., arXiv 1812.06162). Far below it, doubling the batch nearly halves the steps; far above, it saves almost none. The laws
of lr_scaling.py need it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..optimizer.muon_groups import uses_muon
from ..optimizer.routing import module_of


class GradientMoments(NamedTuple):
    """Unbiased estimates for the gradient of a module; either may be below 0 by chance."""

    signal: Tensor
    """|g|^2, a scalar."""
    noise: Tensor
    """tr(S), a scalar: the variance of the gradient of one image."""


def squared_norms(gradients: Iterable[tuple[str, Tensor | None]]) -> dict[str, Tensor]:
    """Return the squared norm of the gradient of each module, from names and gradients of parameters; skip None.

    Gradients must not be clipped yet, nor multiplied by the loss scale of float16.
    """
    squares: dict[str, list[Tensor]] = defaultdict(list)
    for name, gradient in gradients:
        if gradient is not None:
            squares[module_of(name)].append(gradient.detach().float().square().sum())
    return {module: torch.stack(parts).sum() for module, parts in squares.items()}


def two_batch_moments(small: Tensor, big: Tensor, small_batch: int, big_batch: int) -> GradientMoments:
    """Return the moments from squared norms of the mean gradient over a small and over a big batch.

    They solve E|G_B|^2 = |g|^2 + tr(S) / B for both sizes (arXiv 1812.06162, appendix A.1). The small batch may be part of
    the big one.
    """
    assert small_batch < big_batch
    signal = (big_batch * big - small_batch * small) / (big_batch - small_batch)
    noise = (small - big) / (1 / small_batch - 1 / big_batch)
    return GradientMoments(signal, noise)


def momentum_moments(momentum: Tensor, gradient: Tensor, beta: float, batch: int, steps: float) -> GradientMoments:
    """Return the moments from squared norms of the bias-corrected momentum and of the gradient that it took in last.

    Let the mean gradient be constant. Then E|G|^2 = |g|^2 + tr(S) / B, and after t steps E|m|^2 = |g|^2 + r tr(S) / B with
    r = (1 - beta) (1 + beta^t) / ((1 + beta) (1 - beta^t)). See https://kexue.fm/archives/11267. Drift of the gradient
    counts as noise. `steps` must be at least 2.
    """
    remaining = (1 - beta) * (1 + beta**steps) / ((1 + beta) * (1 - beta**steps))
    signal = (momentum - remaining * gradient) / (1 - remaining)
    noise = batch * (gradient - momentum) / (1 - remaining)
    return GradientMoments(signal, noise)


@torch.no_grad()
def optimizer_moments(optimizer: Optimizer, model: nn.Module, batch: int) -> dict[str, GradientMoments]:
    """Return the moments of each module from the momenta of AdamW and Muon; nothing at the first step.

    Call it after the optimizer's step, while the gradients that it used, clipped, are still in place. `batch` is the number
    of images over all processes. Both optimizers update m <- m + (1 - beta)(G - m) from 0, which is divided by 1 - beta^t
    here; for Muon this is the momentum before Nesterov's step. Parameters of a lazy AdamW are left out, because the number of
    steps in a momentum differs between their rows.
    """
    names = {parameter: name for name, parameter in model.named_parameters()}
    parts: dict[str, list[GradientMoments]] = defaultdict(list)
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
        module: GradientMoments(*(torch.stack(column).sum() for column in zip(*found, strict=True)))
        for module, found in parts.items()
    }


class NoiseScale:
    """Averages the moments of each module over steps, then divides; its state is part of the checkpoint.

    The ratio of a single step would be useless: its signal may be 0 or less.
    """

    def __init__(self, decay: float = 0.9):
        self._decay = decay
        self._averages: dict[str, Tensor] = {}

    def observe(self, moments: Mapping[str, GradientMoments]) -> None:
        """Take in the moments of a step by module, without a device sync."""
        for module, found in moments.items():
            fresh = torch.stack(found).detach()
            before = self._averages.get(module, torch.zeros_like(fresh)).to(fresh.device)
            # Both averages start at 0, which cancels in their ratio. Steps that overflow float16 are ignored.
            self._averages[module] = torch.where(fresh.isfinite().all(), before.lerp(fresh, 1 - self._decay), before)

    def summarise(self, prefix: str) -> dict[str, float]:
        """Return the noise scale in images as `PREFIX/encoder` and so on, and `PREFIX/all` of all modules.

        Modules whose signal is still lost in the noise, with an average of 0 or less, are left out.
        """
        if not self._averages:
            return {}
        found = torch.stack(list(self._averages.values()))
        values = dict(zip([*self._averages, "all"], [*found.tolist(), found.sum(dim=0).tolist()], strict=True))
        return {
            f"{prefix}/{name}": noise / signal for name, (signal, noise) in values.items() if signal > 0 and noise > 0
        }

    def state_dict(self) -> dict[str, Any]:
        return {"averages": dict(self._averages)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._averages = dict(state["averages"])
