"""Another quantizer in a trained tokenizer: what it has to fit, and how it is put in."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...tokenizer.model import VisualTokenizer
from ...tokenizer.networks.base import ArchitectureConfig
from ...tokenizer.quantizers import Quantizer
from ...tokenizer.quantizers.scalar.fsp import FiniteScalarPerturbation
from ...tokenizer.quantizers.scalar.fsq import FiniteScalarQuantizer
from ...tokenizer.shapes import Pixels, Vectors
from .fit_quantizer import FittedQuantizer, as_latent


class LatentPairs(NamedTuple):
    """What a new quantizer gets, and what the decoder expects to see of it; rows belong together."""

    vectors: Vectors
    targets: Vectors


class Swapped(NamedTuple):
    """A tokenizer with another quantizer."""

    model: VisualTokenizer
    architecture: ArchitectureConfig


@torch.no_grad()
def latent_pairs(model: VisualTokenizer, pixels: Pixels) -> LatentPairs:
    """Return the latents of images as the old quantizer gets them, and as it compares them, which the decoder knows."""
    latent = model.encode_latent(pixels)
    projected = model.quantizer.to_code_space(latent)
    return LatentPairs(*(x.permute(0, 2, 3, 1).flatten(0, 2).float().cpu() for x in (latent, projected)))


def is_bounded(quantizer: Quantizer) -> bool:
    """Return whether a quantizer squashes its latents, so that raw ones say little about distances."""
    return isinstance(quantizer, (FiniteScalarQuantizer, FiniteScalarPerturbation))


def between_linear_maps(quantizer: Quantizer, pairs: LatentPairs) -> FittedQuantizer:
    """Put linear maps around a quantizer: channels are kept, or reduced to the principal ones; out of it, least squares."""
    dim, new = pairs.vectors.shape[1], quantizer.dim
    into = nn.Conv2d(dim, new, 1)
    with torch.no_grad():
        into.bias.zero_()  # type: ignore[union-attr]
        into.weight.copy_(_reduction(pairs.vectors, new)[:, :, None, None])
    out = nn.Conv2d(new, pairs.targets.shape[1], 1)
    _least_squares(out, quantizer.to_code_space(into(as_latent(pairs.vectors))), pairs.targets)
    return FittedQuantizer(into, quantizer, out)


def swap_quantizer(model: VisualTokenizer, architecture: ArchitectureConfig, fitted: FittedQuantizer) -> Swapped:
    """Return the tokenizer with the fitted quantizer, its linear maps folded into the convolutions around it."""
    assert isinstance(fitted.into, nn.Conv2d) and isinstance(fitted.out, nn.Conv2d)
    channels = architecture.latent_channels
    changed = architecture.model_copy(update={"quantizer_convolutions": True})
    swapped = VisualTokenizer(
        encoder=model.encoder,
        quantizer_in=_composed(_as_convolution(model.quantizer_in, channels), fitted.into),
        quantizer=fitted.quantizer,
        quantizer_out=_composed(fitted.out, _as_convolution(model.quantizer_out, channels)),
        decoder=model.decoder,
        downsample=model.downsample,
    )
    return Swapped(swapped, changed)


def _reduction(vectors: Vectors, new: int) -> Tensor:
    """Return a matrix `new old`: the identity with zeros below, or the leading principal directions, scaled to variance 1."""
    old = vectors.shape[1]
    if new >= old:
        return torch.eye(new, old)
    centred = vectors - vectors.mean(dim=0)
    values, directions = torch.linalg.eigh(centred.T @ centred / len(vectors))
    return directions.flip(1).T[:new] / values.flip(0)[:new, None].clamp_min(1e-8).sqrt()


@torch.no_grad()
def _least_squares(out: nn.Conv2d, projected: Tensor, targets: Vectors) -> None:
    rows = projected.permute(0, 2, 3, 1).flatten(0, 2).double()
    rows = torch.cat([rows, torch.ones(len(rows), 1, dtype=rows.dtype)], dim=1)
    # By the pseudo-inverse, for channels that are always 0 leave the normal equations singular.
    solution = torch.linalg.pinv(rows.T @ rows, rtol=1e-9) @ (rows.T @ targets.double())
    out.weight.copy_(solution[:-1].T[:, :, None, None])
    out.bias.copy_(solution[-1])  # type: ignore[union-attr]


def _as_convolution(layer: nn.Module, channels: int) -> nn.Conv2d:
    if isinstance(layer, nn.Conv2d):
        return layer
    identity = nn.Conv2d(channels, channels, 1)
    with torch.no_grad():
        identity.weight.copy_(torch.eye(channels)[:, :, None, None])
        identity.bias.zero_()  # type: ignore[union-attr]
    return identity


@torch.no_grad()
def _composed(first: nn.Conv2d, second: nn.Conv2d) -> nn.Conv2d:
    """Return one 1 x 1 convolution that does what two do one after the other."""
    both = nn.Conv2d(first.in_channels, second.out_channels, 1)
    matrix = second.weight[:, :, 0, 0].double()
    both.weight.copy_((matrix @ first.weight[:, :, 0, 0].double())[:, :, None, None])
    both.bias.copy_(matrix @ first.bias.double() + second.bias.double())  # type: ignore[union-attr]
    return both
