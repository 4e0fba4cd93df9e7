"""Values that carry the gradient of something else."""

import torch
from torch import Tensor

SHORT = 1e-3


def with_gradient_of(value: Tensor, carrier: Tensor) -> Tensor:
    """Return exactly `value` with the gradient of `carrier`, both of one shape.

    While gradients are recorded, a carrier that is not finite makes the result NaN, so that training stops.
    """
    if not torch.is_grad_enabled():
        return value
    # carrier - carrier.detach() is exactly 0, so the sum is exactly `value`; z + (q - z) would round.
    return value.detach() + (carrier - carrier.detach())


def damp_short(vectors: Tensor, dim: int = -1) -> Tensor:
    """Return exactly `vectors`, with the gradient of those shorter than 1e-3 multiplied by their length over 1e-3.

    Normalising divides a gradient by the length. So damped, it grows a thousandfold at most, and is 0 at 0.
    """
    damping = (vectors.detach().norm(dim=dim, keepdim=True) / SHORT).clamp_max(1)
    return with_gradient_of(vectors, damping * vectors)
