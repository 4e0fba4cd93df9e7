"""The gradient that training uses as a function of where the weights are, and its differences: Hessian-vector products.

By differences, and not by differentiating twice: gradient estimators hold parts of the graph constant, so that a second
backward pass would differentiate another function than the one that training follows; tokens that change on the way count;
and fused attention and other kernels have no second derivative.
"""

from collections.abc import Callable, Sequence
from types import TracebackType

import torch
from torch import Tensor, nn

from ...tokenizer.shapes import Pixels

REACH = 1e-3
"""Norm of a difference's half step over that of the weights that it moves: about that of a few optimizer steps."""
TINY = 1e-30

Direction = Sequence[Tensor | None]
"""A tensor for each parameter; None for those that stay."""


class GradientField:
    """Gradients of a mean loss over images, here and near; on leaving the block nothing has changed but the time.

    Each gradient begins with the buffers that the block began with, so moving averages do not move. `loss` maps images to
    a scalar and must run in the modules' own parameters; images are taken `chunk` at a time.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        parameters: Sequence[nn.Parameter],
        loss: Callable[[Pixels], Tensor],
        chunk: int,
    ):
        self._parameters: list[Tensor] = list(parameters)
        self._modules = [inner for module in modules for inner in module.modules()]
        self._loss = loss
        self._chunk = chunk
        self._device = parameters[0].device

    def __enter__(self) -> "GradientField":
        self._weights = [parameter.detach().clone() for parameter in self._parameters]
        buffers = [
            (inner, name, buffer) for inner in self._modules for name, buffer in inner.named_buffers(recurse=False)
        ]
        self._held = [(inner, name, buffer, buffer.clone()) for inner, name, buffer in buffers]
        self._began = self._random_numbers()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._move(None, 0.0)
        self._restore_buffers()
        self._set_random_numbers(self._began)
        self._weights, self._held = [], []

    def here(self, images: Pixels) -> list[Tensor]:
        """Return the gradient of each parameter, in float32 or wider; random numbers go on from call to call."""
        total = [torch.zeros_like(weight) for weight in self._weights]
        for part in images.split(self._chunk):
            self._restore_buffers()
            with torch.enable_grad():
                loss = self._loss(part) * (len(part) / len(images))
                found = torch.autograd.grad(loss, self._parameters, allow_unused=True)
            felt = [(sum_, part_) for sum_, part_ in zip(total, found, strict=True) if part_ is not None]
            torch._foreach_add_([sum_ for sum_, _ in felt], [part_ for _, part_ in felt])
        return total

    def products(self, images: Pixels, direction: Direction, others: Sequence[Direction]) -> Tensor:
        """Return w H v for the direction v and each of the others w, H being the derivative of the gradient over images.

        It is (G(theta + e v) - G(theta - e v)) w / 2 e with e |v| = REACH |theta|, both gradients with the same random
        numbers. The device is not waited for.
        """
        moved = [weight for weight, step in zip(self._weights, direction, strict=True) if step is not None]
        size = REACH * _norm(moved) / _norm([step for step in direction if step is not None]).clamp_min(TINY)
        began = self._random_numbers()
        self._move(direction, size)
        ahead = self.here(images)
        self._set_random_numbers(began)
        self._move(direction, -size)
        behind = self.here(images)
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
        for module, name, buffer, held in self._held:
            buffer.copy_(held)
            setattr(module, name, buffer)  # a forward may have put another in its place

    def _random_numbers(self) -> list[Tensor]:
        states = [torch.get_rng_state()]
        if self._device.type != "cpu":
            states.append(torch.get_device_module(self._device).get_rng_state(self._device))
        return states

    def _set_random_numbers(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        if self._device.type != "cpu":
            torch.get_device_module(self._device).set_rng_state(states[1], self._device)


def dot(first: Direction, second: Direction) -> Tensor:
    """Return the inner product of two directions over the parameters that both move."""
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    return torch.stack([(a * b).sum() for a, b in pairs]).sum()


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([tensor.square().sum() for tensor in tensors]).sum().sqrt()
