"""Hessian-vector products: finite differences of the gradient that training follows.

Differentiating twice would be wrong. Gradient estimators hold parts of the graph constant, so a second backward pass would
differentiate another function; changes of tokens would not count; and fused kernels have no second derivative.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn

from ...tokenizer.shapes import Pixels

STEP = 1e-3
"""Norm of half a difference's step over that of the weights: about that of a few optimizer steps."""
TINY = 1e-30

Direction = Sequence[Tensor | None]
"""A tensor for each parameter; None for those that do not move."""


@contextmanager
def hessian_products(
    modules: Sequence[nn.Module], parameters: Sequence[nn.Parameter], loss: Callable[[Pixels], Tensor], chunk: int
) -> Iterator["HessianProducts"]:
    """Return a context in which weights may move; at its end, weights, buffers and random numbers are as before.

    `loss` maps images to a mean, a scalar, and must use the parameters of `modules`; it gets `chunk` images at a time.
    """
    products = HessianProducts(modules, parameters, loss, chunk)
    with _fork_rng(parameters[0].device):
        try:
            yield products
        finally:
            products.restore()


class HessianProducts:
    """Gradients and products of one point. Each gradient starts with the same buffers, so EMAs do not drift."""

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

    def restore(self) -> None:
        """Set weights and buffers to what they were."""
        self._move(None, 0.0)
        self._restore_buffers()

    def gradient(self, images: Pixels) -> list[Tensor]:
        """Return the gradient of each parameter, in float32 or wider; each call draws new random numbers."""
        total = [torch.zeros_like(weight) for weight in self._weights]
        for part in images.split(self._chunk):
            self._restore_buffers()
            with torch.enable_grad():
                loss = self._loss(part) * (len(part) / len(images))
                found = torch.autograd.grad(loss, self._parameters, allow_unused=True)
            pairs = [(sum_, part_) for sum_, part_ in zip(total, found, strict=True) if part_ is not None]
            torch._foreach_add_([sum_ for sum_, _ in pairs], [part_ for _, part_ in pairs])
        return total

    def products(self, images: Pixels, direction: Direction, others: Sequence[Direction]) -> Tensor:
        """Return w H v for the direction v and each other direction w, where H is the derivative of the gradient G.

        It is (G(theta + e v) - G(theta - e v)) w / 2 e with e |v| = STEP |theta|, with the same random numbers in both
        gradients. No device sync.
        """
        moved = [weight for weight, step in zip(self._weights, direction, strict=True) if step is not None]
        size = STEP * _norm(moved) / _norm([step for step in direction if step is not None]).clamp_min(TINY)
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
    """Return a context after which random numbers are as before it."""
    return torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type)


def dot(first: Direction, second: Direction) -> Tensor:
    """Return the inner product of two directions, over the parameters that both move."""
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    return torch.stack([(a * b).sum() for a, b in pairs]).sum()


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([tensor.square().sum() for tensor in tensors]).sum().sqrt()
