"""The game between tokenizer and discriminator: losses, penalties and how much they weigh, as pure functions."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, distributed
from torch.nn import functional

from ...tokenizer.config import Config, choice
from ...tokenizer.shapes import Pixels
from .discriminators import DISCRIMINATORS, DiscriminatorConfig, PatchDiscriminatorConfig

MIN_NORM = 1e-4

AdversarialLossName = Literal["hinge", "non_saturating"]
Share = Annotated[float, Field(ge=0, lt=1)]


class AdversarialConfig(Config):
    """The discriminator and how it learns; its weight on the tokenizer is losses.adversarial's."""

    discriminator: Annotated[DiscriminatorConfig, choice(DISCRIMINATORS)] = PatchDiscriminatorConfig()
    """Network that tells reconstructions from images, its keys depending on its name."""
    loss: AdversarialLossName = "hinge"
    """What both sides descend, one of ADVERSARIAL_LOSSES."""
    start: Annotated[int, Field(ge=0)] = 0
    """Steps that the tokenizer learns alone, before the discriminator begins."""
    ramp: Annotated[int, Field(ge=0)] = 0
    """Steps after start over which the tokenizer's term rises to its weight."""
    adaptive: bool = False
    """Whether the term is scaled so that its gradient at the last layer is as great as the reconstruction's, as in VQGAN."""
    adaptive_limit: Annotated[float, Field(gt=0)] = 1e4
    """Greatest such scale."""
    lecam: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the LeCam penalty on the discriminator, for small collections; 0 leaves it out."""
    lecam_decay: Share = 0.999
    """Decay of the average logits that the LeCam penalty holds on to."""
    r1: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the R1 penalty on the discriminator; 0 leaves it out."""
    r1_every: Annotated[int, Field(ge=1)] = 16
    """Steps from one R1 penalty to the next, each scaled by this number (lazy regularisation, arXiv 1912.04958)."""
    lr: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate of the discriminator; none takes optimizer.lr."""
    betas: tuple[Share, Share] = (0.5, 0.9)
    """Decay of the averages of the discriminator's AdamW."""
    eps: Annotated[float, Field(gt=0)] = 1e-8
    """Added to the root of the second moment of the discriminator's AdamW."""
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Greatest norm of the discriminator's gradient; a greater one is scaled down."""


class AdversarialLoss(NamedTuple):
    """What the two sides of the game descend."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


def _hinge_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return (functional.relu(1 - real_logits).mean() + functional.relu(1 + fake_logits).mean()) / 2


def _hinge_generator(fake_logits: Tensor) -> Tensor:
    return -fake_logits.mean()


def _cross_entropy_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return (functional.softplus(-real_logits).mean() + functional.softplus(fake_logits).mean()) / 2


def _cross_entropy_generator(fake_logits: Tensor) -> Tensor:
    return functional.softplus(-fake_logits).mean()


ADVERSARIAL_LOSSES: dict[AdversarialLossName, AdversarialLoss] = {
    "hinge": AdversarialLoss(_hinge_discriminator, _hinge_generator),
    "non_saturating": AdversarialLoss(_cross_entropy_discriminator, _cross_entropy_generator),
}


def discriminator_loss(kind: AdversarialLossName, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return what the discriminator descends, a mean over logits of any shape; halved, as in VQGAN (arXiv 2012.09841).

    `hinge` (arXiv 1705.02894): 1/2 (E max(0, 1 - real) + E max(0, 1 + fake)). `non_saturating` (arXiv 1406.2661), the
    cross-entropy: 1/2 (E log(1 + exp -real) + E log(1 + exp fake)).
    """
    return ADVERSARIAL_LOSSES[kind].discriminator(real_logits.float(), fake_logits.float())


def generator_loss(kind: AdversarialLossName, fake_logits: Tensor) -> Tensor:
    """Return what the tokenizer descends: -E fake for `hinge`, E log(1 + exp -fake) for `non_saturating`."""
    return ADVERSARIAL_LOSSES[kind].generator(fake_logits.float())


class LogitAverages(NamedTuple):
    """Moving averages of the discriminator's mean logits, scalars."""

    real: Tensor
    fake: Tensor


def lecam_penalty(real_logits: Tensor, fake_logits: Tensor, averages: LogitAverages) -> Tensor:
    """Return E max(0, real - average fake)^2 + E max(0, average real - fake)^2.

    It holds the logits of each side near the average of the other, so that few images are not learned by heart
    (LeCam, arXiv 2104.03310, eq. 5; the max is not in the paper but in its authors' code, and in those after it).
    """
    above = functional.relu(real_logits.float() - averages.fake).square().mean()
    below = functional.relu(averages.real - fake_logits.float()).square().mean()
    return above + below


class LeCam:
    """The averages of the LeCam penalty, one for all processes.

    The first update takes the mean logits as they are, so that no start value is held on to. Nothing waits for the device.
    """

    def __init__(self, decay: float = 0.999):
        self.decay = decay
        self._averages: Tensor | None = None

    @property
    def averages(self) -> LogitAverages:
        """The averages so far; there are none before the first update."""
        assert self._averages is not None, "update comes first"
        return LogitAverages(self._averages[0], self._averages[1])

    def update(self, real_logits: Tensor, fake_logits: Tensor) -> None:
        """Take the mean logits of all processes into the averages; every process must call it with equally many."""
        means = torch.stack([real_logits.detach().float().mean(), fake_logits.detach().float().mean()])
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(means)
            means = means / distributed.get_world_size()
        self._averages = means if self._averages is None else self._averages.to(means).lerp(means, 1 - self.decay)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averages, nothing before the first update."""
        return {} if self._averages is None else {"averages": self._averages}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from the averages of a `state_dict`."""
        self._averages = state.get("averages")


def r1_penalty(logits: Tensor, pixels: Pixels) -> Tensor:
    """Return 1/2 E_b |dD/dpixels|^2 over real images (arXiv 1801.04406), D being the mean of a image's logits.

    The mean, not the sum, makes the penalty independent of how many patches a image has, as the losses are. `pixels`
    must have required gradients when `logits` were computed from them, in float32; the penalty can be differentiated again,
    through attention only if `logits` were computed under `torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`.
    """
    judged = logits.float().flatten(1).mean(dim=1).sum()
    (gradient,) = torch.autograd.grad(judged, pixels, create_graph=True)
    return gradient.float().square().flatten(1).sum(dim=1).mean() / 2


def adaptive_weight(
    reconstruction_loss: Tensor,
    adversarial_loss: Tensor,
    last_layer: Tensor,
    limit: float = 1e4,
    average: Callable[[Tensor], Tensor] | None = None,
) -> Float[Tensor, ""]:
    """Return |d reconstruction / d last layer| / (|d adversarial / d last layer| + 1e-4), in [0, limit], detached.

    VQGAN, arXiv 2012.09841, eq. 7, with the 1e-4 of its code. `last_layer` is the weight of the decoder's last layer, of
    the bare module, which computes in float32. Both graphs are kept. `average` takes the mean of a gradient over all
    processes, so that every one has the same weight, and the one that a single process would have.
    """
    (wanted,) = torch.autograd.grad(reconstruction_loss, last_layer, retain_graph=True)
    (judged,) = torch.autograd.grad(adversarial_loss, last_layer, retain_graph=True)
    if average is not None:
        wanted, judged = average(wanted), average(judged)
    return (wanted.float().norm() / (judged.float().norm() + MIN_NORM)).clamp(0, limit).detach()


def ramp(step: int, start: int, length: int) -> float:
    """Return 0 up to step `start`, 1 from `start + length` on, and between them a line; with length 0, 1 from `start` on."""
    if length == 0:
        return float(step >= start)
    return min(1.0, max(0.0, (step - start) / length))
