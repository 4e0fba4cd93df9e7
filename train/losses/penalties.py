"""Penalties on the discriminator: LeCam and R1."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from ...tokenizer.shapes import Pixels


class LeCam:
    """The LeCam penalty, with EMAs of the mean logits over all processes; the first step sets them.

    `average` returns the mean of a tensor over all processes. No device sync.
    """

    def __init__(self, decay: float = 0.999, average: Callable[[Tensor], Tensor] = lambda value: value):
        self._decay = decay
        self._average = average
        self._averages: Tensor | None = None

    def penalty(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """Update the averages, and return E max(0, real - average fake)^2 + E max(0, average real - fake)^2.

        It keeps the logits of each side near the average of the other, against overfitting on few images (LeCam, arXiv
        2104.03310, eq. 5). The max is not in the paper, but in the authors' code. Every process must call it, with equally
        many logits.
        """
        real, fake = real_logits.float(), fake_logits.float()
        means = self._average(torch.stack([real.detach().mean(), fake.detach().mean()]))
        self._averages = means if self._averages is None else self._averages.to(means).lerp(means, 1 - self._decay)
        real_average, fake_average = self._averages
        return (
            functional.relu(real - fake_average).square().mean() + functional.relu(real_average - fake).square().mean()
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averages `2` of real and fake logits; empty before the first step."""
        return {} if self._averages is None else {"averages": self._averages}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load the averages of a `state_dict`."""
        self._averages = state.get("averages")


def r1_penalty(logits: Tensor, pixels: Pixels) -> Tensor:
    """Return 1/2 E_b |dD/dpixels|^2 over real images (arXiv 1801.04406), where D is the mean of an image's logits.

    The mean makes the penalty independent of the number of patches, as the losses are. `pixels` must have required
    gradients when `logits` were computed from them in float32. The penalty is differentiable, through attention only if
    `logits` were computed under `torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`.
    """
    total = logits.float().flatten(1).mean(dim=1).sum()
    (gradient,) = torch.autograd.grad(total, pixels, create_graph=True)
    return gradient.float().square().flatten(1).sum(dim=1).mean() / 2
