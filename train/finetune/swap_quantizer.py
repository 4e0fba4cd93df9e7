"""Swaps the quantizer of a trained tokenizer: the latents that the new one is fitted to, and the convolutions around it."""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from ...tokenizer.model import VisualTokenizer
from ...tokenizer.quantizers import Quantized, Quantizer
from ...tokenizer.shapes import Latent, Pixels, Vectors


class FittedQuantizer(nn.Module):
    """A quantizer between two linear maps, so that it fits latents with another number of channels."""

    def __init__(self, into: nn.Module, quantizer: Quantizer, out: nn.Module):
        super().__init__()
        self.into = into
        self.quantizer = quantizer
        self.out = out

    def forward(self, latent: Latent) -> Quantized:
        quantized, tokens, losses = self.quantizer(self.into(latent))
        return Quantized(self.out(quantized), tokens, losses)


def as_latent(vectors: Vectors) -> Latent:
    """Return vectors `n d` as one latent `1 d 1 n`."""
    return rearrange(vectors, "n d -> 1 d 1 n")


class LatentPairs(NamedTuple):
    """Inputs of a new quantizer and the outputs that the decoder expects, row by row."""

    vectors: Vectors
    """Latents as the old quantizer gets them."""
    targets: Vectors
    """The same latents in the old quantizer's code space, which the decoder was trained on."""


@torch.no_grad()
def latent_pairs(model: VisualTokenizer, pixels: Pixels) -> LatentPairs:
    """Return the latents of images, on the CPU, before and after the old quantizer maps them to its code space."""
    latent = model.encode_latent(pixels)
    projected = model.quantizer.to_code_space(latent)
    return LatentPairs(*(x.permute(0, 2, 3, 1).flatten(0, 2).float().cpu() for x in (latent, projected)))


def between_linear_maps(quantizer: Quantizer, pairs: LatentPairs) -> FittedQuantizer:
    """Put linear maps around a quantizer: into it the identity or principal components, out of it least squares."""
    dim, new = pairs.vectors.shape[1], quantizer.dim
    into = nn.Conv2d(dim, new, 1)
    with torch.no_grad():
        into.bias.zero_()  # type: ignore[union-attr]
        into.weight.copy_(_reduction(pairs.vectors, new)[:, :, None, None])
    out = nn.Conv2d(new, pairs.targets.shape[1], 1)
    _least_squares(out, quantizer.to_code_space(into(as_latent(pairs.vectors))), pairs.targets)
    return FittedQuantizer(into, quantizer, out)


def swap_quantizer(model: VisualTokenizer, fitted: FittedQuantizer) -> VisualTokenizer:
    """Return the tokenizer with the fitted quantizer, and its linear maps merged into the convolutions around it."""
    return VisualTokenizer(
        encoder=model.encoder,
        quantizer_in=_composed(model.quantizer_in, fitted.into),
        quantizer=fitted.quantizer,
        quantizer_out=_composed(fitted.out, model.quantizer_out),
        decoder=model.decoder,
        architecture=model.architecture.model_copy(update={"quantizer_convolutions": True}),
    )


def _reduction(vectors: Vectors, new: int) -> Tensor:
    """Return a matrix `new old`: the identity padded with zeros, or the principal components scaled to variance 1."""
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
    # The pseudo-inverse, because channels that are always 0 make the normal equations singular.
    solution = torch.linalg.pinv(rows.T @ rows, rtol=1e-9) @ (rows.T @ targets.double())
    out.weight.copy_(solution[:-1].T[:, :, None, None])
    out.bias.copy_(solution[-1])  # type: ignore[union-attr]


@torch.no_grad()
def _composed(first: nn.Module, second: nn.Module) -> nn.Module:
    """Return the 1 x 1 convolution that equals `second` after `first`, each a convolution or the identity."""
    if not isinstance(first, nn.Conv2d) or not isinstance(second, nn.Conv2d):
        return second if isinstance(first, nn.Identity) else first
    both = nn.Conv2d(first.in_channels, second.out_channels, 1)
    matrix = second.weight[:, :, 0, 0].double()
    both.weight.copy_((matrix @ first.weight[:, :, 0, 0].double())[:, :, None, None])
    both.bias.copy_(matrix @ first.bias.double() + second.bias.double())  # type: ignore[union-attr]
    return both
