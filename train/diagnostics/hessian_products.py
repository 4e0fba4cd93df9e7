"""Hessian-vector products along directions of the optimizer: finite differences of the gradient that training follows.

Differentiating twice would be wrong. Gradient estimators hold parts of the graph constant, so a second backward pass would
differentiate another function; changes of tokens would not count; and fused kernels have no second derivative.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from ...tokenizer.shapes import Pixels
from ..optimizer.orthogonalize import orthogonalize

STEP = 1e-3
"""Norm of half a difference's step over that of the weights: about that of a few optimizer steps."""
TINY = 1e-30

Direction = Sequence[Tensor | None]
"""A tensor for each parameter; None for those that do not move."""


class HessianProducts:
    """Gradients and products of one point: a context at whose end weights, buffers and random numbers are as before.

    `loss` maps images to a mean, a scalar, and must use the parameters of `modules`; it gets `chunk` images at a time. Each
    gradient starts with the same buffers, so EMAs do not drift.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        parameters: Sequence[nn.Parameter],
        loss: Callable[[Pixels], Tensor],
        chunk: int,
    ):
        self._parameters: list[Tensor] = list(parameters)
        self._loss = loss
        self._chunk = chunk
        self._weights = [parameter.detach().clone() for parameter in parameters]
        inner = [inner for module in modules for inner in module.modules()]
        named = [(module, name, buffer) for module in inner for name, buffer in module.named_buffers(recurse=False)]
        self._buffers = [(module, name, buffer, buffer.clone()) for module, name, buffer in named]
        self._rng = _fork_rng(parameters[0].device)

    def __enter__(self) -> "HessianProducts":
        self._rng.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._move(None, 0.0)
        self._restore_buffers()
        self._rng.__exit__(*error)

    def gradient(self, images: Pixels) -> list[Tensor]:
        """Return the gradient of each parameter, in float32 or wider; each call draws new random numbers."""
        total = [torch.zeros_like(weight) for weight in self._weights]
        for part in images.split(self._chunk):
            self._restore_buffers()
            with torch.enable_grad():
                loss = self._loss(part) * (len(part) / len(images))
                found = torch.autograd.grad(loss, self._parameters, allow_unused=True)
            used = [index for index, gradient in enumerate(found) if gradient is not None]
            torch._foreach_add_([total[index] for index in used], [found[index] for index in used])
        return total

    def products(self, images: Pixels, direction: Direction, others: Sequence[Direction]) -> Tensor:
        """Return w H v for the direction v and each other direction w, where H is the derivative of the gradient G.

        It is (G(theta + e v) - G(theta - e v)) w / 2 e with e |v| = STEP |theta|, with the same random numbers in both
        gradients. No device sync.
        """
        moved = [weight for weight, step in zip(self._weights, direction, strict=True) if step is not None]
        size = STEP * dot(moved, moved).sqrt() / dot(direction, direction).sqrt().clamp_min(TINY)
        self._move(direction, size)
        with _fork_rng(images.device):
            ahead = self.gradient(images)
        self._move(direction, -size)
        behind = self.gradient(images)
        self._move(None, 0.0)
        torch._foreach_sub_(ahead, behind)
        return torch.stack([dot(ahead, other) for other in others]) / (2 * size)

    @torch.no_grad()
    def _move(self, direction: Direction | None, size: Tensor | float) -> None:
        torch._foreach_copy_(self._parameters, self._weights)
        for parameter, step in zip(self._parameters, direction or [None] * len(self._parameters), strict=True):
            if step is not None:
                parameter.add_(step * size)

    @torch.no_grad()
    def _restore_buffers(self) -> None:
        for module, name, buffer, saved in self._buffers:
            buffer.copy_(saved)
            setattr(module, name, buffer)  # a forward may have replaced it


def _fork_rng(device: torch.device) -> AbstractContextManager[None]:
    return torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type)


def dot(first: Direction, second: Direction) -> Tensor:
    """Return the inner product of two directions, over the parameters that both move."""
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    return torch.stack([(a * b).sum() for a, b in pairs]).sum()


def momentum_signs(states: Sequence[Mapping[str, Tensor]]) -> Direction:
    """Return the sign of AdamW's momentum; None for parameters of Muon."""
    return [state["exp_avg"].sign() if "exp_avg" in state else None for state in states]


@torch.no_grad()
def orthogonal_momentum(states: Sequence[Mapping[str, Tensor]]) -> Direction:
    """Return Muon's momentum with all singular values near 1, kernels as out x rest; None for parameters of AdamW."""
    momenta = [state.get("momentum_buffer") for state in states]
    return [None if m is None else orthogonalize(m.flatten(1).unsqueeze(0))[0].reshape(m.shape) for m in momenta]


def random_signs(like: Direction, seed: int) -> Direction:
    """Return independent random signs where a direction is not 0, the same on all processes, for Hutchinson's trace."""
    device = next(part.device for part in like if part is not None)
    generator = torch.Generator(device).manual_seed(seed)

    def signs(part: Tensor) -> Tensor:
        return 2 * torch.randint(0, 2, part.shape, generator=generator, device=device).to(part.dtype) - 1

    return [None if part is None else signs(part) * part.abs() for part in like]
