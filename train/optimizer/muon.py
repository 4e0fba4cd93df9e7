"""Muon with AdamW as one optimizer; unlike timm's, it orthogonalises all matrices of one shape in one batched product."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from .adam import state_entries, step_adamw, steps_taken
from .muon_groups import check_group, uses_muon
from .orthogonalize import orthogonalize


def adamw_update_rms(beta1: float) -> float:
    """Return the RMS of AdamW's update, divided by its rate, for gradients that are pure noise.

    The mean-field value is r = sqrt((1 - beta1) / (1 + beta1)) for any beta2 (https://kexue.fm/archives/11267), 0.229 at
    beta1 = 0.9, where the usual constant is 0.2 (Moonlight, arXiv 2502.16982). This returns r * 0.2 / 0.229, so that rates
    tuned with that constant keep their meaning; at beta1 = 0.5 it is 0.50, where simulated AdamW has 0.55 to 0.57.
    """
    return 0.2 * math.sqrt((1 - beta1) / (1 + beta1) * (1 + 0.9) / (1 - 0.9))


SCALINGS: dict[str, Callable[[int, int, float], float]] = {
    "match_rms_adamw": lambda rows, columns, beta1: adamw_update_rms(beta1) * math.sqrt(max(rows, columns)),
    "original": lambda rows, columns, _: math.sqrt(max(1, rows / columns)),
    "rms_to_rms": lambda rows, columns, _: math.sqrt(rows / columns),
}
"""Factor of the orthogonal direction, from rows = out, columns = in * height * width, and AdamW's beta1.

Moonlight's, since an orthogonal matrix has an RMS of 1 / sqrt(max(rows, columns)); Keller Jordan's; and muP's, which keeps
the RMS of a layer's output (arXiv 2502.07529).
"""


class Muon(Optimizer):
    """Muon with Nesterov's momentum for matrices and kernels, AdamW for the rest; decoupled decay for both.

    A group with `use_muon: True` is Muon's, and its parameters must have two dimensions or more; one with `use_muon: False`
    is AdamW's. Parameters of other groups, and those given without groups (`Muon(model.parameters(), lr=...)`), go by shape:
    two dimensions or more to Muon, fewer to AdamW. Muon is wrong for rows that are looked up, because it moves every row at
    every step. Put codebooks and embeddings, and by custom the first and the last layer, into a group with `use_muon: False`;
    `assign_parameters` does so for a tokenizer.

    A kernel is the matrix out x (in * height * width). Momentum M <- M + (1 - momentum)(G - M) starts at 0. The step is
    -lr * rate * scale * orthogonalize(G + momentum (M - G)), with `scale` from SCALINGS. `rate` multiplies this direction
    alone: the decay is lr * weight_decay for both kinds. `eps`, `lazy` and `second_moment` are AdamW's, as in `step_adamw`.
    A parameter without a gradient is not touched, not even by decay, and gradients are only read.

    Raises ValueError for settings out of range, for complex parameters, and, at the step, for sparse gradients.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.95),
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        eps: float = 1e-8,
        scaling: str = "match_rms_adamw",
        rate: float = 1.0,
        second_moment: str = "raw",
    ):
        # In the groups, because copied and pickled optimizers keep nothing else.
        defaults = {"lr": lr, "betas": betas, "momentum": momentum, "weight_decay": weight_decay, "eps": eps}
        defaults |= {"scaling": scaling, "rate": rate, "second_moment": second_moment}
        super().__init__(params, defaults | {"use_muon": None, "lazy": False})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; raise ValueError when its settings or parameters are wrong."""
        super().add_param_group(param_group)
        try:
            check_group(self.param_groups[-1], SCALINGS)
        except ValueError:
            self.param_groups.pop()
            raise

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            trained = [parameter for parameter in group["params"] if parameter.grad is not None and parameter.numel()]
            matrices = [parameter for parameter in trained if uses_muon(parameter, group)]
            rest = [parameter for parameter in trained if not uses_muon(parameter, group)]
            self._step_matrices(matrices, group)
            step_adamw(rest, _gradients(rest), self._states(rest), group)
        return loss

    def _step_matrices(self, parameters: list[Tensor], group: Mapping[str, Any]) -> None:
        alike: dict[object, list[Tensor]] = defaultdict(list)
        for parameter in parameters:
            shape = len(parameter), parameter[0].numel()
            alike[shape, parameter.dtype, parameter.device].append(parameter)
        for members in alike.values():
            gradients, states = _gradients(members), self._states(members)
            momenta = state_entries(members, states, "momentum_buffer")
            torch._foreach_add_(steps_taken(states), 1)
            torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
            ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
            # Columns in the order of a channels-last kernel: any order does, and this one copies nothing.
            directions = orthogonalize(torch.stack([update.movedim(1, -1).flatten(1) for update in ahead]))
            rows, columns = directions.shape[1:]
            scale = group["rate"] * SCALINGS[group["scaling"]](rows, columns, group["betas"][0])
            if group["weight_decay"]:
                torch._foreach_mul_(members, 1 - group["lr"] * group["weight_decay"])
            shaped = [
                direction.reshape(member.movedim(1, -1).shape).movedim(-1, 1)
                for direction, member in zip(directions, members, strict=True)
            ]
            torch._foreach_add_(members, shaped, alpha=-group["lr"] * scale)

    def _states(self, parameters: list[Tensor]) -> list[dict[str, Tensor]]:
        return [self.state[parameter] for parameter in parameters]


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if any(gradient.layout != torch.strided for gradient in gradients):
        raise ValueError("Muon got a sparse gradient, but takes dense ones: build the embedding with sparse=False.")
    return gradients
