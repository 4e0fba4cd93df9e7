"""Loss terms by name, and the one place where they are weighed.

A term's name is its key in the config, in the log (`loss/<name>`) and in the dictionary that is weighed.
"""

from collections.abc import Mapping
from typing import Annotated, TypeAlias

import torch
from pydantic import Field
from torch import Tensor

from ...tokenizer.config_hints import nearest
from ...tokenizer.model import Reconstruction
from ...tokenizer.quantizers import Quantizer
from ...tokenizer.shapes import Pixels

MIN_ERROR = 1e-4
CHARBONNIER_WIDTH = 1e-3
PERCEPTUAL = "perceptual"
ADVERSARIAL = "adversarial"

LossWeights: TypeAlias = dict[str, Annotated[float, Field(ge=0)]]


def absolute_error(pixels: Pixels, reconstruction: Pixels) -> Tensor:
    """Return the mean absolute difference (L1) of pixels in [-1, 1]."""
    return (pixels.float() - reconstruction.float()).abs().mean()


def squared_error(pixels: Pixels, reconstruction: Pixels) -> Tensor:
    """Return the mean squared difference (L2) of pixels in [-1, 1]."""
    return (pixels.float() - reconstruction.float()).square().mean()


def charbonnier(pixels: Pixels, reconstruction: Pixels) -> Tensor:
    """Return the mean of sqrt(x^2 + w^2) - w over differences x, w = 1e-3: L1 with a smooth bottom (Charbonnier 1994)."""
    squared = (pixels.float() - reconstruction.float()).square()
    return (squared + CHARBONNIER_WIDTH**2).sqrt().mean() - CHARBONNIER_WIDTH


def log_squared_error(pixels: Pixels, reconstruction: Pixels) -> Tensor:
    """Return the mean over images of the logarithm of their mean squared difference.

    Its descent raises the mean PSNR, where `squared_error` looks at the images that are hardest. The difference counts
    as at least 1e-4 (46 dB), so that flat images do not rule.
    """
    errors = (pixels.float() - reconstruction.float()).square().mean(dim=(1, 2, 3))
    return (errors + MIN_ERROR).log().mean()


RECONSTRUCTION_LOSSES = {
    "l1": absolute_error,
    "l2": squared_error,
    "charbonnier": charbonnier,
    "log_l2": log_squared_error,
}


def reconstruction_terms(pixels: Pixels, reconstruction: Pixels, weights: LossWeights) -> dict[str, Tensor]:
    """Return the reconstruction losses that have a weight, by name, unweighted."""
    return {name: loss(pixels, reconstruction) for name, loss in RECONSTRUCTION_LOSSES.items() if name in weights}


def loss_terms(pixels: Pixels, output: Reconstruction, weights: LossWeights) -> dict[str, Tensor]:
    """Return the named, unweighted terms: the reconstruction losses that have a weight, and all of the quantizer's."""
    return reconstruction_terms(pixels, output.pixels, weights) | output.losses


def weigh(terms: Mapping[str, Tensor], weights: LossWeights) -> Tensor:
    """Return the weighted sum; raise ValueError when a term has no weight or a weight no term."""
    _check_names(set(terms), weights)
    weighed = [weights[name] * term for name, term in terms.items() if weights[name]]
    if not weighed:
        raise ValueError("losses has no term with a weight above 0: give one to l1 or l2.")
    return torch.stack(weighed).sum()


def check_loss_names(weights: LossWeights, quantizer: Quantizer) -> None:
    """Raise ValueError when a loss that the quantizer has in training has no weight, or a weight no loss."""
    own = set(RECONSTRUCTION_LOSSES) & set(weights)
    asked = {PERCEPTUAL, ADVERSARIAL} & set(weights)
    _check_names({*own, *asked, *quantizer_losses(quantizer)}, weights)


def quantizer_losses(quantizer: Quantizer) -> list[str]:
    """Return the names of the losses that a quantizer has in the mode that it is in."""
    return list(quantizer.loss_names) if quantizer.training else []


def _check_names(terms: set[str], weights: LossWeights) -> None:
    missing = sorted(terms - set(weights))
    if missing:
        names = " and ".join(f"losses.{name}" for name in missing)
        verb, them = ("has", "it") if len(missing) == 1 else ("have", "one")
        raise ValueError(f"{names} {verb} no weight: set {names} (0 leaves {them} out).")
    unused = sorted(name for name in set(weights) - terms if not _is_left_out(name, weights))
    if unused:
        near = nearest(unused[0], [*terms, *RECONSTRUCTION_LOSSES, PERCEPTUAL, ADVERSARIAL])
        hint = f"did you mean {near!r}? its" if near not in (None, unused[0]) else "its"
        raise ValueError(
            f"losses.{unused[0]} has a weight, but this model has no such term: {hint} terms are "
            f"{', '.join(sorted({*terms, *RECONSTRUCTION_LOSSES}))}, and perceptual and adversarial with their sections."
        )


def _is_left_out(name: str, weights: LossWeights) -> bool:
    # What these terms need is not even built when they weigh nothing.
    return name in (PERCEPTUAL, ADVERSARIAL) and weights[name] == 0


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
"""Weights of the quantizers' losses where a config does not give them, as in fine-tuning."""


def quantizer_weights(quantizer: Quantizer, commitment: float) -> dict[str, float]:
    """Return the usual weight of each loss that a quantizer has in training."""
    losses = quantizer.loss_names
    return {name: USUAL_WEIGHTS[name] for name in losses} | (
        {"commitment": commitment} if "commitment" in losses else {}
    )
