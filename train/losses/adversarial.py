"""The adversarial game: its settings, what each side minimises, with penalties, and the weight of the tokenizer's term."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from ...tokenizer.config import Choice, Config
from ...tokenizer.shapes import Pixels
from .discriminators import DISCRIMINATORS, DiscriminatorConfig, PatchDiscriminatorConfig

MIN_NORM = 1e-4

AdversarialLossName = Literal["hinge", "non_saturating"]
Decay = Annotated[float, Field(ge=0, lt=1)]


class AdversarialConfig(Config):
    """The discriminator and its training; losses.adversarial is the weight of the tokenizer's term."""

    discriminator: Annotated[DiscriminatorConfig, Choice(DISCRIMINATORS)] = PatchDiscriminatorConfig()
    """Network that tells reconstructions from images; its keys depend on its name."""
    loss: AdversarialLossName = "hinge"
    """What both sides minimise: hinge or non_saturating."""
    start: Annotated[int, Field(ge=0)] = 0
    """Steps that the tokenizer trains alone before the discriminator starts."""
    ramp: Annotated[int, Field(ge=0)] = 0
    """Steps after start over which the weight of the tokenizer's term rises linearly from 0."""
    adaptive: bool = False
    """Whether to scale the term so that its gradient at the last layer has the norm of the reconstruction's, as in VQGAN."""
    adaptive_limit: Annotated[float, Field(gt=0)] = 1e4
    """Maximum of that scale."""
    lecam: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the LeCam penalty on the discriminator, for small datasets; 0 turns it off."""
    lecam_decay: Decay = 0.999
    """Decay of the EMA of the logits that the LeCam penalty uses."""
    r1: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the R1 penalty on the discriminator; 0 turns it off."""
    r1_every: Annotated[int, Field(ge=1)] = 16
    """Steps between R1 penalties, each multiplied by this number (lazy regularisation, arXiv 1912.04958)."""
    lr: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate of the discriminator; by default optimizer.lr."""
    betas: tuple[Decay, Decay] = (0.5, 0.9)
    """Betas of the discriminator's AdamW."""
    eps: Annotated[float, Field(gt=0)] = 1e-8
    """Epsilon of the discriminator's AdamW."""
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Maximum norm of the discriminator's gradient, which is scaled down to it."""


ADVERSARIAL_LOSSES: dict[AdversarialLossName, Callable[[Tensor], Tensor]] = {
    "hinge": lambda logits: functional.relu(1 - logits),
    "non_saturating": lambda logits: functional.softplus(-logits),
}
"""What the discriminator minimises over the logits of images, and over those of reconstructions times -1."""


def discriminator_loss(kind: AdversarialLossName, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return the discriminator's loss, a mean over logits of any shape, halved as in VQGAN (arXiv 2012.09841).

    `hinge` (arXiv 1705.02894): 1/2 (E max(0, 1 - real) + E max(0, 1 + fake)). `non_saturating` (arXiv 1406.2661), the
    cross-entropy: 1/2 (E log(1 + exp -real) + E log(1 + exp fake)).
    """
    loss = ADVERSARIAL_LOSSES[kind]
    return (loss(real_logits.float()).mean() + loss(-fake_logits.float()).mean()) / 2


def generator_loss(kind: AdversarialLossName, fake_logits: Tensor) -> Tensor:
    """Return the tokenizer's loss: -E fake for `hinge`, E log(1 + exp -fake) for `non_saturating`."""
    return -fake_logits.float().mean() if kind == "hinge" else functional.softplus(-fake_logits.float()).mean()


def adaptive_weight(
    reconstruction_loss: Tensor,
    adversarial_loss: Tensor,
    last_layer: Tensor,
    limit: float = 1e4,
    average: Callable[[Tensor], Tensor] = lambda gradient: gradient,
) -> Float[Tensor, ""]:
    """Return |d reconstruction / d last layer| / (|d adversarial / d last layer| + 1e-4), in [0, limit], detached.

    VQGAN, arXiv 2012.09841, eq. 7, with the 1e-4 of its code. `last_layer` is the weight of the decoder's last layer, in
    the module that is not wrapped. Both graphs are kept. `average` returns the mean of a gradient over all processes, so
    that the weight is the same on each and does not depend on their number.
    """
    (own,) = torch.autograd.grad(reconstruction_loss, last_layer, retain_graph=True)
    (adversarial,) = torch.autograd.grad(adversarial_loss, last_layer, retain_graph=True)
    return (average(own).float().norm() / (average(adversarial).float().norm() + MIN_NORM)).clamp(0, limit).detach()


def has_begun(step: int, start: int) -> bool:
    """Return whether a step, counted from 1, has an adversarial term and a discriminator that learns: those after `start`."""
    return step > start


def ramp(step: int, start: int, length: int) -> float:
    """Return 0 until the term has begun, then rise linearly to 1 at `start + length`; with length 0, return 1 at once."""
    if not has_begun(step, start):
        return 0.0
    return min(1.0, (step - start) / length) if length else 1.0


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
        before = torch.full_like(means, torch.nan) if self._averages is None else self._averages.to(means)
        self._averages = torch.where(before.isnan(), means, before.lerp(means, 1 - self._decay))
        real_average, fake_average = self._averages
        return (
            functional.relu(real - fake_average).square().mean() + functional.relu(real_average - fake).square().mean()
        )

    def restore(self, before: Tensor | None, skip: Tensor | None = None) -> None:
        """Set the averages back, or only where the boolean scalar `skip` is true; no device sync."""
        if skip is None:
            self._averages = before
        elif self._averages is not None:
            old = torch.full_like(self._averages, torch.nan) if before is None else before.to(self._averages)
            self._averages = torch.where(skip, old, self._averages)

    @property
    def averages(self) -> Tensor | None:
        """The averages `2` of real and fake logits; none, or NaN where the device skipped all steps, before the first one."""
        return self._averages

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
