"""Loss terms by name, and the one place where they are weighed.

A term's name is its key in the config, in the log (`loss/<name>`) and in the dictionary that is weighed.
"""

from collections.abc import Mapping
from typing import Annotated, TypeAlias

import torch
from pydantic import Field
from torch import Tensor

from ..tokenizer.model import Reconstruction
from ..tokenizer.shapes import Pixels

LEAST_ERROR = 1e-4

LossWeights: TypeAlias = dict[str, Annotated[float, Field(ge=0)]]


def absolute_error(pixels: Pixels, reconstruction: Pixels) -> Tensor:
    """Return the mean absolute difference (L1) of pixels in [-1, 1]."""
    return (pixels.float() - reconstruction.float()).abs().mean()


def squared_error(pixels: Pixels, reconstruction: Pixels) -> Tensor:
    """Return the mean squared difference (L2) of pixels in [-1, 1]."""
    return (pixels.float() - reconstruction.float()).square().mean()


def log_squared_error(pixels: Pixels, reconstruction: Pixels) -> Tensor:
    """Return the mean over pictures of the logarithm of their mean squared difference.

    Its descent raises the mean PSNR, where `squared_error` looks at the pictures that are hardest. The difference counts
    as at least 1e-4 (46 dB), so that flat pictures do not rule.
    """
    errors = (pixels.float() - reconstruction.float()).square().mean(dim=(1, 2, 3))
    return (errors + LEAST_ERROR).log().mean()


RECONSTRUCTION_LOSSES = {"l1": absolute_error, "l2": squared_error, "log_l2": log_squared_error}


def loss_terms(pixels: Pixels, output: Reconstruction, weights: LossWeights) -> dict[str, Tensor]:
    """Return the named, unweighted terms: the reconstruction losses that have a weight, and all of the quantizer's."""
    terms = {name: loss(pixels, output.pixels) for name, loss in RECONSTRUCTION_LOSSES.items() if name in weights}
    return terms | output.losses


def weigh(terms: Mapping[str, Tensor], weights: LossWeights) -> Tensor:
    """Return the weighted sum; raise ValueError when a term has no weight or a weight no term."""
    missing = sorted(set(terms) - set(weights))
    if missing:
        raise ValueError(f"losses.{missing[0]} has no weight: set losses.{missing[0]} (0 leaves it out).")
    unused = sorted(set(weights) - set(terms))
    if unused:
        raise ValueError(
            f"losses.{unused[0]} has a weight, but this model has no such term: its terms are "
            f"{', '.join(sorted({*terms, *RECONSTRUCTION_LOSSES}))}."
        )
    weighed = [weights[name] * term for name, term in terms.items() if weights[name]]
    if not weighed:
        raise ValueError("losses has no term with a weight above 0: give one to l1 or l2.")
    return torch.stack(weighed).sum()
