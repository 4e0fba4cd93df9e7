"""Penalties on the discriminator: LeCam and R1."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, distributed
from torch.nn import functional

from ...tokenizer.devices import is_distributed
from ...tokenizer.shapes import Pixels


class LogitAverages(NamedTuple):
    """EMAs of the discriminator's mean logits, scalars."""

    real: Tensor
    fake: Tensor


def lecam_penalty(real_logits: Tensor, fake_logits: Tensor, averages: LogitAverages) -> Tensor:
    """Return E max(0, real - average fake)^2 + E max(0, average real - fake)^2.

    It keeps the logits of each side near the average of the other, against overfitting on few images (LeCam, arXiv
    2104.03310, eq. 5). The max is not in the paper, but in the authors' code.
    """
    above = functional.relu(real_logits.float() - averages.fake).square().mean()
    below = functional.relu(averages.real - fake_logits.float()).square().mean()
    return above + below


class LeCam:
    """EMAs of the mean logits over all processes, without a device sync; the first update sets them."""

    def __init__(self, decay: float = 0.999):
        self.decay = decay
        self._averages: Tensor | None = None

    @property
    def averages(self) -> LogitAverages:
        """The averages; call `update` first."""
        assert self._averages is not None, "update comes first"
        return LogitAverages(self._averages[0], self._averages[1])

    def update(self, real_logits: Tensor, fake_logits: Tensor) -> None:
        """Update the averages with the mean logits over all processes; each must call it with equally many logits."""
        means = torch.stack([real_logits.detach().float().mean(), fake_logits.detach().float().mean()])
        if is_distributed():
            distributed.all_reduce(means)
            means = means / distributed.get_world_size()
        self._averages = means if self._averages is None else self._averages.to(means).lerp(means, 1 - self.decay)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averages; empty before the first update."""
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
