"""Loss terms by name, as in `losses.NAME` of a config and `loss/NAME` of a log, and their weighted sum."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, TypeAlias

import torch
from pydantic import Field
from torch import Tensor

from ...tokenizer.model import Reconstruction
from ...tokenizer.quantizers import Quantizer
from ...tokenizer.shapes import Pixels
from ...tokenizer.wording import did_you_mean, nearest
from .criteria import CRITERIA, CriterionConfig, criterion_of

MIN_ERROR = 1e-4
CHARBONNIER_WIDTH = 1e-3
ADVERSARIAL = "adversarial"
NOTHING_WEIGHED = "losses has no term with a weight above 0: give one to l1 or l2."

LossWeights: TypeAlias = dict[str, Annotated[float, Field(ge=0)]]


def absolute_error(pixels: Pixels, reconstruction: Pixels) -> Tensor:
    """Return the mean of |x| over differences x of pixels in [-1, 1]."""
    return (pixels.float() - reconstruction.float()).abs().mean()


def squared_error(pixels: Pixels, reconstruction: Pixels) -> Tensor:
    """Return the mean of x^2 over differences x of pixels in [-1, 1]."""
    return (pixels.float() - reconstruction.float()).square().mean()


def charbonnier(pixels: Pixels, reconstruction: Pixels) -> Tensor:
    """Return the mean of sqrt(x^2 + w^2) - w over differences x, with w = 1e-3: a smooth L1 (arXiv 1704.03915)."""
    squared = (pixels.float() - reconstruction.float()).square()
    return (squared + CHARBONNIER_WIDTH**2).sqrt().mean() - CHARBONNIER_WIDTH


def log_squared_error(pixels: Pixels, reconstruction: Pixels) -> Tensor:
    """Return the mean over images of log(mean squared difference + 1e-4).

    Minimising it maximises the mean PSNR, whereas `squared_error` is dominated by the hardest images. The constant, 46 dB,
    keeps flat images from dominating instead.
    """
    errors = (pixels.float() - reconstruction.float()).square().mean(dim=(1, 2, 3))
    return (errors + MIN_ERROR).log().mean()


RECONSTRUCTION_LOSSES = {
    "l1": absolute_error,
    "l2": squared_error,
    "charbonnier": charbonnier,
    "log_l2": log_squared_error,
}


def loss_terms(pixels: Pixels, output: Reconstruction, weights: LossWeights) -> dict[str, Tensor]:
    """Return unweighted terms by name: the reconstruction losses that have a weight, and all that the output brings."""
    own = {name: loss(pixels, output.pixels) for name, loss in RECONSTRUCTION_LOSSES.items() if name in weights}
    return own | output.losses


def weigh(terms: Mapping[str, Tensor], weights: LossWeights) -> Tensor:
    """Return the weighted sum; raise ValueError when a term has no weight or a weight no term."""
    _check_names(set(terms), weights)
    weighted = [weights[name] * term for name, term in terms.items() if weights[name]]
    if not weighted:
        raise ValueError(NOTHING_WEIGHED)
    return torch.stack(weighted).sum()


def check_loss_names(weights: LossWeights, own_names: Sequence[str], criteria: Mapping[str, CriterionConfig]) -> None:
    """Raise ValueError when a term has no weight, two terms have one name, a weight has no term, or all weights are 0.

    `own_names` are those of the quantizer, in training mode, or of the recipe.
    """
    named = [*own_names, *(name for config in criteria.values() for name in config.loss_names)]
    twice = [name for name in named if named.count(name) > 1 or name in {*RECONSTRUCTION_LOSSES, ADVERSARIAL}]
    if twice:
        raise ValueError(
            f"two terms have the name {twice[0]}: rename that of the criterion, the quantizer or the recipe."
        )
    _check_names({*RECONSTRUCTION_LOSSES, ADVERSARIAL} & set(weights) | set(named), weights)
    if not any(weights.values()):
        raise ValueError(NOTHING_WEIGHED)


def _check_names(terms: set[str], weights: LossWeights) -> None:
    missing = sorted(terms - set(weights))
    if missing:
        names = " and ".join(f"losses.{name}" for name in missing)
        verb, them = ("has", "it") if len(missing) == 1 else ("have", "one")
        raise ValueError(f"{names} {verb} no weight: set {names} (0 leaves {them} out).")
    for name in sorted(set(weights) - terms):
        criterion = criterion_of(name)
        if weights[name] == 0 and (criterion or name == ADVERSARIAL):
            continue  # it was not built
        if criterion:
            raise ValueError(
                f"losses.{name} has a weight, but criteria has no {criterion}: add the section criteria.{criterion}."
            )
        raise ValueError(_unknown(name, terms))


def _unknown(name: str, terms: Iterable[str]) -> str:
    known = sorted({*terms, *RECONSTRUCTION_LOSSES})
    every_section = [*(name for config in CRITERIA.values() for name in config.loss_names), ADVERSARIAL]
    more = [each for each in every_section if each not in known]
    near = nearest(name, [*known, *more])
    otherwise = f"choose from {', '.join(known)}" + (f"; with a section, also {', '.join(more)}." if more else ".")
    meant = did_you_mean(near if near != name else None, otherwise)
    return f"losses.{name} has a weight, but this model has no such term: {meant}"


USUAL_WEIGHTS = {
    "codebook": 1.0,
    "commitment": 0.25,
    "assignment": 1.0,
    "region": 0.1,
    "wasserstein": 0.1,
    "mmd": 1.0,
    "sample_entropy": 0.01,
    "codebook_entropy": 0.01,
    "moments": 0.1,
}
"""Weights of quantizer losses that a config does not set, as in fine-tuning."""


def quantizer_weights(quantizer: Quantizer, commitment: float) -> dict[str, float]:
    """Return the usual weight of each loss that a quantizer has in training mode, or 1 for a loss that is not vistok's."""
    usual = USUAL_WEIGHTS | {"commitment": commitment}
    return {name: usual.get(name, 1.0) for name in quantizer.loss_names}
