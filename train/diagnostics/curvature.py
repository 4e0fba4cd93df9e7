"""The curvature of the loss, which the learning-rate laws need: measured at some steps, averaged, and logged."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from ...tokenizer.shapes import Pixels
from .hessian_products import Direction, HessianProducts, dot, momentum_signs, orthogonal_momentum, random_signs

MIN_IMAGES = 3
WEIGHT = "weight"
LATEST = "momentum_square"
QUADRATIC = ("signal", "gradient", "noise", "adamw_signal")
"""Sums that grow with the square of the gradient. They are averaged as multiples of |m|^2, which does not depend on the
images, because the large gradients at the start of a run would otherwise dominate."""


class Curvature:
    """Measures the curvature and averages it; its state is part of the checkpoint.

    H is the derivative of the float32 gradient (hessian_products.py). A measurement splits the images of this process: a
    quarter gives g, the next quarter an independent g', and the rest H. Let S be the covariance of the gradient of one
    image, d = g - g', and n the images of a quarter over all processes. Then E[g' H g] = g H g, and E[d H d] = 2 tr(S H) / n
    (https://kexue.fm/archives/10542). Further products are along the sign of AdamW's momentum, along random signs for the
    trace (Hutchinson), and along Muon's step. Each costs two forward and backward passes over half the images, and all need
    memory for about eight copies of the weights.
    """

    def __init__(self, optimizer: Optimizer, model: nn.Module, accelerator: Accelerator, decay: float = 0.9):
        self._optimizer = optimizer
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._accelerator = accelerator
        self._decay = decay
        self._averages: dict[str, Tensor] = {}

    def measure(
        self, seed: int, images: Pixels, chunk: int, loss: Callable[[Pixels], Tensor], modules: Sequence[nn.Module]
    ) -> None:
        """Add a measurement to the averages, without a device sync and without changing the run.

        Every process must call it, before an optimizer step, so that the momentum does not depend on `images`. `modules`
        are all modules that `loss` uses. Before the first step there is no momentum, and it does nothing.
        """
        states = [self._optimizer.state.get(parameter, {}) for parameter in self._parameters]
        if not any("exp_avg" in state for state in states):
            return
        momenta = [state.get("exp_avg", state.get("momentum_buffer")) for state in states]
        size = dot(momenta, momenta)
        with HessianProducts(modules, self._parameters, loss, chunk) as products:
            found = self._measured(products, images, states, seed)
        found |= {name: found[name] / size for name in QUADRATIC} | {LATEST: size}
        values = torch.stack(list(found.values())).float()
        weights = torch.full_like(values, 1 - self._decay)
        weights[-1] = 1  # of LATEST, which is not averaged
        before = torch.stack([self._averages.get(name, values.new_zeros(())).to(values.device) for name in found])
        # A measurement that is not finite is ignored.
        averages = torch.where(values.isfinite().all(), before.lerp(values, weights), before)
        self._averages = dict(zip(found, averages, strict=True))

    def summarise(self) -> dict[str, float]:
        """Return the `estimates` from the averages by log path, such as `curvature/gradient`."""
        if not self._averages:
            return {}
        values = torch.stack(list(self._averages.values())).tolist()
        averages = dict(zip(self._averages, values, strict=True))
        weight, size = averages.pop(WEIGHT), averages.pop(LATEST)
        found = estimates({name: value / weight for name, value in averages.items()}, size) if weight else {}
        return {f"curvature/{name}": value for name, value in found.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"averages": dict(self._averages)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._averages = dict(state["averages"])

    def _measured(
        self, products: HessianProducts, images: Pixels, states: Sequence[Mapping[str, Tensor]], seed: int
    ) -> dict[str, Tensor]:
        signs, step = momentum_signs(states), orthogonal_momentum(states)
        directions = [signs, random_signs(signs, seed), *([step] if any(part is not None for part in step) else [])]
        quarter = len(images) // 4 or 1
        first, second, rest = images.split([quarter, quarter, len(images) - 2 * quarter])
        g, other = self._mean(products.gradient(first)), self._mean(products.gradient(second))
        difference = torch._foreach_sub(g, other)
        along = torch.cat(
            [
                products.products(rest, g, [other]),
                products.products(rest, difference, [difference]),
                *(products.products(rest, direction, [direction]) for direction in directions),
            ]
        )
        crossed, apart, *others = self._mean([along])[0].unbind()
        masked = [None if sign is None else part for sign, part in zip(signs, g, strict=True)]
        count = sum(part.numel() for part in signs if part is not None)
        sums = {
            WEIGHT: torch.ones_like(crossed),
            "signal": dot(g, other),
            "gradient": crossed,
            "noise": apart / 2 * quarter * self._accelerator.num_processes,
            "adamw_signal": dot(masked, other) / count,
            "adamw": others[0] / count,
            "mean": others[1] / count,
            "agreement": _agreement(signs, g),
            "batch_agreement": _agreement(masked, other),
        }
        return sums | ({"muon": others[2] / dot(step, step)} if len(others) > 2 else {})

    def _mean(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        if self._accelerator.num_processes == 1:
            return list(tensors)
        return self._accelerator.reduce(list(tensors), reduction="mean")


def _agreement(first: Direction, second: Direction) -> Tensor:
    """Return the mean of sign(a b) over the values where it is not 0, in [-1, 1]."""
    signs = [(a * b).sign().float() for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    agreeing = torch.stack([sign.sum() for sign in signs]).sum()
    return agreeing / torch.stack([sign.abs().sum() for sign in signs]).sum().clamp_min(1)


def estimates(averages: Mapping[str, float], squared_momentum: float = 1.0) -> dict[str, float]:
    """Return the estimates whose parts are above their noise, by name: ratios of means, not means of ratios.

    `gradient` is g H g / |g|^2 and `noise_scale` tr(S H) / g H g, in images. `adamw` is s H s for the sign s of AdamW's
    momentum, and `mean` is tr H, both divided by the number of AdamW's values. `muon` is u H u / |u|^2 for the
    orthogonalised momentum u. `gradient_rms` is the root mean square of the noiseless gradient of AdamW's values, from the
    newest |m|^2, `squared_momentum`. `ratio` is b_n of the learning-rate laws (lr_scaling.py). Noise in the signs hides a
    part of the off-diagonal curvature; their agreement with the signs of two independent batches corrects for it. If that
    agreement is lost in noise, or gradients oscillate, `ratio` is an upper bound. It is missing while s H s does not exceed
    the diagonal.
    """
    found = {name: averages[name] for name in ("adamw", "mean", "muon") if name in averages}
    if averages["signal"] > 0:
        found["gradient"] = averages["gradient"] / averages["signal"]
    if averages["noise"] > 0 and averages["gradient"] > 0:
        found["noise_scale"] = averages["noise"] / averages["gradient"]
    if averages["adamw_signal"] > 0:
        found["gradient_rms"] = math.sqrt(averages["adamw_signal"] * squared_momentum)
    off = averages["adamw"] - averages["mean"]
    if averages["mean"] > 0 and off > 0:
        agreement, of_batches = averages["agreement"], averages["batch_agreement"]
        correction = agreement**2 / of_batches if agreement > 0 and of_batches > 0 else 1.0
        found["ratio"] = math.sqrt(averages["mean"] * min(1.0, correction) / off)
    return found
