"""Muon for matrices and convolutions with AdamW for everything else, as one optimizer.

timm.optim.Muon does the same one matrix at a time; here matrices of one shape are orthogonalised together, one batched
product for a shape. The tests hold the whole trajectory equal to timm's, whose names for groups and state are kept.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw

QUINTIC = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
"""Five quintic steps (a, b, c) that bring singular values near 1 (leloykun.github.io/ponder/muon-opt-coeffs)."""


def adamw_update_rms(beta1: float) -> float:
    """Return the root mean square of AdamW's update over its rate, on gradients that are noise.

    The mean-field value is r = sqrt((1 - beta1) / (1 + beta1)), whatever beta2 (kexue.fm 11267); it is 0.229 for
    beta1 = 0.9, where the field's constant is 0.2 (Moonlight, arXiv 2502.16982). Returned is r * 0.2 / 0.229: 0.2 at
    beta1 = 0.9, so that rates tuned with that constant keep their meaning, and 0.50 at beta1 = 0.5, where simulated
    AdamW has 0.55 to 0.57.
    """
    return 0.2 * math.sqrt((1 - beta1) / (1 + beta1) * (1 + 0.9) / (1 - 0.9))


SCALINGS: dict[str, Callable[[int, int, float], float]] = {
    "match_rms_adamw": lambda rows, columns, beta1: adamw_update_rms(beta1) * math.sqrt(max(rows, columns)),
    "original": lambda rows, columns, _: math.sqrt(max(1, rows / columns)),
    "rms_to_rms": lambda rows, columns, _: math.sqrt(rows / columns),
}
"""Factor of the orthogonal direction from rows = out, columns = in * height * width, and AdamW's beta1.

Moonlight's, for an orthogonal matrix has a root mean square of 1 / sqrt(max(rows, columns)); Keller Jordan's; and that of
muP, which keeps the root mean square of a layer's output (arXiv 2502.07529). Compared in kexue.fm 11416.
"""


def orthogonalize(
    matrices: Tensor,
    coefficients: Sequence[tuple[float, float, float]] = QUINTIC,
    eps: float = 1e-8,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return U V^T of each matrix U S V^T of a batch ` k m n`, as nearly as the quintic steps bring it.

    A step is X <- a X + b (X X^T) X + c (X X^T)^2 X. For m < n the same polynomial is followed on the m x m Gram matrix
    X X^T alone and applied to X once at the end: for a 256 x 2304 kernel a third of the multiplications. Many CPUs
    multiply bfloat16 hundreds of times slower than float32, hence float32.
    """
    transposed = matrices.shape[-2] > matrices.shape[-1]
    wide = (matrices.mT if transposed else matrices).to(dtype)
    gram = wide @ wide.mT
    squared_norm = gram.diagonal(dim1=-2, dim2=-1).sum(dim=-1)[:, None, None].clamp_min(eps**2)
    gram /= squared_norm
    product = None
    for step, (a, b, c) in enumerate(coefficients, 1):
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal(dim1=-2, dim2=-1).add_(a)
        product = factor if product is None else factor @ product
        if step < len(coefficients):
            gram = factor @ gram @ factor
    assert product is not None, "at least one step"
    orthogonal = product / squared_norm.sqrt() @ wide
    return orthogonal.mT if transposed else orthogonal


class Muon(Optimizer):
    """Muon with Nesterov's momentum for the groups with `use_muon`, AdamW for the others; decoupled decay for both.

    A kernel is seen as the matrix out x (in * height * width). Momentum M <- M + (1 - momentum)(G - M) starts at 0, and
    the step is -lr * rate * scale * orthogonalize(G + momentum (M - G)), with `scale` from SCALINGS. A parameter without a
    gradient is left alone, decay included, and gradients are only read.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.95),
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        eps: float = 1e-8,
        scaling: str = "match_rms_adamw",
        rate: float = 1.0,
    ):
        defaults = {"lr": lr, "betas": betas, "momentum": momentum, "weight_decay": weight_decay, "eps": eps}
        super().__init__(groups, defaults | {"use_muon": False})
        self._scaling = SCALINGS[scaling]
        self._rate = rate

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            trained = [parameter for parameter in group["params"] if parameter.grad is not None]
            if group["use_muon"]:
                self._step_matrices(trained, group)
            else:
                self._step_rest(trained, group)
        return loss

    def _step_matrices(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        alike: dict[object, list[Tensor]] = defaultdict(list)
        for parameter in parameters:
            shape = len(parameter), parameter[0].numel()
            alike[shape, parameter.dtype, parameter.device].append(parameter)
        for members in alike.values():
            gradients = _gradients(members)
            momenta = self._remembered(members, "momentum_buffer")
            torch._foreach_add_(self._steps(members), 1)
            torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
            ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
            # Columns as they lie in a channels-last kernel: their order does not matter, and nothing is moved.
            directions = orthogonalize(
                torch.stack([update.movedim(1, -1).flatten(1) for update in ahead]), eps=group["eps"]
            )
            rows, columns = directions.shape[1:]
            scale = self._rate * self._scaling(rows, columns, group["betas"][0])
            if group["weight_decay"]:
                torch._foreach_mul_(members, 1 - group["lr"] * group["weight_decay"])
            shaped = [
                direction.reshape(member.movedim(1, -1).shape).movedim(-1, 1)
                for direction, member in zip(directions, members, strict=True)
            ]
            torch._foreach_add_(members, shaped, alpha=-group["lr"] * scale)

    def _step_rest(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        adamw(
            parameters,
            _gradients(parameters),
            exp_avgs=self._remembered(parameters, "exp_avg"),
            exp_avg_sqs=self._remembered(parameters, "exp_avg_sq"),
            max_exp_avg_sqs=[],
            state_steps=self._steps(parameters),
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )

    def _remembered(self, parameters: list[Tensor], name: str) -> list[Tensor]:
        """Return a part of each parameter's state, zeros at first."""
        for parameter in parameters:
            if name not in self.state[parameter]:
                self.state[parameter][name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        return [self.state[parameter][name] for parameter in parameters]

    def _steps(self, parameters: list[Tensor]) -> list[Tensor]:
        """Return the number of steps that each parameter has taken, tensors on the CPU."""
        return [self.state[parameter].setdefault("step", torch.tensor(0.0)) for parameter in parameters]


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]
