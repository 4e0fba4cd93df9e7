"""The curvature of the loss where a run is, which the rate laws ask for: measured now and then, averaged, and logged."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from ..tokenizer.shapes import Pixels
from .directions import momentum_signs, orthogonal_momentum, random_signs
from .gradient_field import Direction, GradientField, dot

MIN_IMAGES = 3
WEIGHT = "weight"


class Curvature:
    """Measures and averages; its state goes into the checkpoint.

    H is the derivative of the gradient that training follows, in float32 (see gradient_field.py). A measurement splits
    images of this process: a quarter gives g, the next one another g that is independent of it, and the rest H. So g H g and
    tr(S H), S being the covariance of the gradient of one image, come from one product H g: with g' of the other quarter,
    E[g' H g] = g H g, and E[g H g] is larger by tr(S H) / n for n images over all processes (kexue.fm 10542). A second
    product is along the sign of AdamW's momentum, the third along random signs, a fourth along Muon's step.

    A product costs two forward and backward passes over half the images; the weights are held three times meanwhile.
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
        """Take a measurement into the averages; nothing is read from the device, and the run is left as it was.

        Call it on every process before an optimizer step, so that the momentum does not know `images`; `modules` are all
        that `loss` runs. Before the first step there is no momentum, and nothing is done.
        """
        signs = momentum_signs(self._optimizer, self._parameters)
        if all(part is None for part in signs):
            return
        with GradientField(modules, self._parameters, loss, chunk) as field:
            found = self._found(field, images, signs, seed)
        names, values = list(found), torch.stack(list(found.values())).float()
        nothing = torch.zeros_like(values[0])
        held = torch.stack([self._averages.get(name, nothing).to(values.device) for name in names])
        # What is not finite is no measurement.
        values = torch.where(values.isfinite().all(), held.lerp(values, 1 - self._decay), held)
        self._averages = dict(zip(names, values.unbind(), strict=True))

    def summarise(self) -> dict[str, float]:
        """Return the `quotients` of the averages as `curvature/gradient` and so on."""
        if not self._averages:
            return {}
        values = torch.stack(list(self._averages.values())).tolist()
        averages = dict(zip(self._averages, values, strict=True))
        weight = averages.pop(WEIGHT)  # all began at 0
        found = quotients({name: value / weight for name, value in averages.items()}) if weight else {}
        return {f"curvature/{name}": value for name, value in found.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"averages": dict(self._averages)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._averages = dict(state["averages"])

    def _found(self, field: GradientField, images: Pixels, signs: Direction, seed: int) -> dict[str, Tensor]:
        quarter = len(images) // 4 or 1
        first, second, rest = images.split([quarter, quarter, len(images) - 2 * quarter])
        g, other = self._mean(field.here(first)), self._mean(field.here(second))
        random, step = random_signs(signs, seed), orthogonal_momentum(self._optimizer, self._parameters)
        along = torch.cat(
            [
                field.products(rest, g, [other, g]),
                field.products(rest, signs, [signs]),
                field.products(rest, random, [random]),
                *([field.products(rest, step, [step])] if any(part is not None for part in step) else []),
            ]
        )
        crossed, own, *others = self._mean([along])[0].unbind()
        masked = [None if sign is None else part for sign, part in zip(signs, g, strict=True)]
        count = sum(part.numel() for part in signs if part is not None)
        sums = {
            WEIGHT: torch.ones_like(own),
            "signal": dot(g, other),
            "gradient": crossed,
            "noise": (own - crossed) * quarter * self._accelerator.num_processes,
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
        reduced = self._accelerator.reduce(list(tensors), reduction="mean")
        assert isinstance(reduced, list)
        return reduced


def quotients(averages: Mapping[str, float]) -> dict[str, float]:
    """Return what averages of measurements say; a quotient whose parts are still lost in their noise is left out.

    `gradient` is g H g / |g|^2, `noise_scale` tr(S H) / g H g in images; `adamw` s H s with s the sign of AdamW's momentum
    and `mean` tr H, both per value of AdamW's; `muon` u H u / |u|^2 with u the orthogonalised momentum; `gradient_rms` the
    root mean square of the gradient of AdamW's values without noise. `ratio` is b_n of lr_scaling.py: the noise in the
    signs hides a part of what they feel off the diagonal, which their agreement with those of two independent batches
    gives back. There is none while steps along all signs feel no more than the diagonal: a diagonal Hessian is then near.
    """
    found = {name: averages[name] for name in ("adamw", "mean", "muon") if name in averages}
    if averages["signal"] > 0:
        found["gradient"] = averages["gradient"] / averages["signal"]
    if averages["noise"] > 0 and averages["gradient"] > 0:
        found["noise_scale"] = averages["noise"] / averages["gradient"]
    if averages["adamw_signal"] > 0:
        found["gradient_rms"] = math.sqrt(averages["adamw_signal"])
    off = averages["adamw"] - averages["mean"]
    if averages["mean"] > 0 and off > 0 and averages["batch_agreement"] > 0 and averages["agreement"] > 0:
        certainty = min(1.0, averages["agreement"] ** 2 / averages["batch_agreement"])
        found["ratio"] = math.sqrt(averages["mean"] * certainty / off)
    return found


def _agreement(first: Direction, second: Direction) -> Tensor:
    """Return the mean of sign(a b) over the values where it is not 0."""
    signs = [(a * b).sign().float() for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    agreeing = torch.stack([sign.sum() for sign in signs]).sum()
    return agreeing / torch.stack([sign.abs().sum() for sign in signs]).sum().clamp_min(1)
