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

    skip: Tensor | None = None
    """A boolean scalar on the device of the parameters: where it is true, the next steps change nothing."""

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
        precision: str = "auto",
    ):
        # In the groups, because copied and pickled optimizers keep nothing else.
        defaults = {"lr": lr, "betas": betas, "momentum": momentum, "weight_decay": weight_decay, "eps": eps}
        defaults |= {"scaling": scaling, "rate": rate, "second_moment": second_moment}
        defaults |= {"precision": precision}
        super().__init__(params, defaults | {"use_muon": None, "lazy": False})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; raise ValueError when its settings or parameters are wrong."""
        super().add_param_group(param_group)
        try:
            check_group(self.param_groups[-1], SCALINGS)
        except ValueError:
            self.param_groups.pop()
            raise

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, whatever memory format its tensors were saved in: they take that of their parameters."""
        super().load_state_dict(state_dict)
        for parameter, state in self.state.items():
            for name, value in state.items():
                if torch.is_tensor(value) and value.shape == parameter.shape and value.stride() != parameter.stride():
                    state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)

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
            step_adamw(rest, _gradients(rest), self._states(rest), group, self.skip)
        return loss

    def _step_matrices(self, parameters: list[Tensor], group: Mapping[str, Any]) -> None:
        alike: dict[object, list[Tensor]] = defaultdict(list)
        for parameter in parameters:
            kind = len(parameter), parameter[0].numel(), parameter.is_contiguous(), parameter.dtype, parameter.device
            alike[kind].append(parameter)
        for members in alike.values():
            gradients, states = _gradients(members), self._states(members)
            momenta = state_entries(members, states, "momentum_buffer")
            torch._foreach_add_(steps_taken(states), 1)
            ahead = self._look_ahead(gradients, momenta, group["momentum"])
            directions = orthogonalize(ahead, group["precision"])
            if self.skip is not None:
                directions = torch.where(self.skip, 0, directions)
            rows, columns = directions.shape[1:]
            scale = group["rate"] * SCALINGS[group["scaling"]](rows, columns, group["betas"][0])
            if group["weight_decay"]:
                torch._foreach_mul_(members, self._unless_skipped(1 - group["lr"] * group["weight_decay"], members[0]))
            torch._foreach_add_(members, _unstacked(directions, members), alpha=-group["lr"] * scale)

    def _look_ahead(self, gradients: list[Tensor], momenta: list[Tensor], momentum: float) -> Tensor:
        """Update momenta in place, and return Nesterov's point ` k m n` of matrices of one shape."""
        if self.skip is None:
            torch._foreach_lerp_(momenta, gradients, 1 - momentum)
            return _stacked(list(torch._foreach_lerp(gradients, momenta, momentum)))
        gradient, before = _stacked(gradients), _stacked(momenta)
        after = torch.where(self.skip, before, before.lerp(gradient, 1 - momentum))
        torch._foreach_copy_(momenta, _unstacked(after, momenta))
        return gradient.lerp(after, momentum)

    def _unless_skipped(self, factor: float, like: Tensor) -> Any:
        """Return a factor, or 1 at a step that is skipped."""
        return factor if self.skip is None else torch.where(self.skip, 1.0, factor).to(like.dtype)

    def _states(self, parameters: list[Tensor]) -> list[dict[str, Tensor]]:
        return [self.state[parameter] for parameter in parameters]


def _stacked(tensors: list[Tensor]) -> Tensor:
    """Return matrices ` k m n`, with columns in the order in memory: any order does, and this one copies nothing before."""
    return torch.stack([_in_memory_order(tensor).flatten(1) for tensor in tensors])


def _unstacked(matrices: Tensor, likes: list[Tensor]) -> list[Tensor]:
    """Return each matrix in the shape and the format of a tensor."""
    shaped = [matrix.reshape(_in_memory_order(like).shape) for matrix, like in zip(matrices, likes, strict=True)]
    return [each if like.is_contiguous() else each.movedim(-1, 1) for each, like in zip(shaped, likes, strict=True)]


def _in_memory_order(tensor: Tensor) -> Tensor:
    """Return a tensor, or a channels-last one with its channels last."""
    return tensor if tensor.is_contiguous() else tensor.movedim(1, -1)


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if any(gradient.layout != torch.strided for gradient in gradients):
        raise ValueError("Muon got a sparse gradient, but takes dense ones: build the embedding with sparse=False.")
    return gradients
