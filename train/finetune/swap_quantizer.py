"""Swaps the quantizer of a trained tokenizer: the latents that the new one is fitted to, and the convolutions around it."""

from typing import NamedTuple

import torch
from einops import einsum, rearrange
from torch import Tensor, nn

from ...tokenizer.model import VisualTokenizer
from ...tokenizer.networks.base import ArchitectureConfig
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


def between_linear_maps(quantizer: Quantizer, pairs: LatentPairs, with_shift: bool = True) -> FittedQuantizer:
    """Put linear maps around a quantizer: into it the identity or principal components, out of it least squares.

    `with_shift` gives the map out of it a bias.
    """
    dim, new = pairs.vectors.shape[1], quantizer.dim
    into = nn.Conv2d(dim, new, 1)
    with torch.no_grad():
        into.bias.zero_()  # type: ignore[union-attr]
        into.weight.copy_(_reduction(pairs.vectors, new)[:, :, None, None])
    out = nn.Conv2d(new, pairs.targets.shape[1], 1, bias=with_shift)
    _least_squares(out, quantizer.to_code_space(into(as_latent(pairs.vectors))), pairs.targets)
    return FittedQuantizer(into, quantizer, out)


def takes_shift(architecture: ArchitectureConfig) -> bool:
    """Return whether a bias can be merged into the layer out of the quantizer; at a padded border it would be missing."""
    return not architecture.quantizer_convolutions or architecture.quantizer_kernel == 1


def swapped_architecture(architecture: ArchitectureConfig) -> ArchitectureConfig:
    """Return the architecture of the tokenizer that `swap_quantizer` returns."""
    kernel = architecture.quantizer_kernel if architecture.quantizer_convolutions else 1
    return architecture.model_copy(update={"quantizer_convolutions": True, "quantizer_kernel": kernel})


def swap_quantizer(model: VisualTokenizer, fitted: FittedQuantizer) -> VisualTokenizer:
    """Return the tokenizer with the fitted quantizer, and its linear maps merged into the convolutions around it."""
    return VisualTokenizer(
        encoder=model.encoder,
        quantizer_in=_composed(model.quantizer_in, fitted.into),
        quantizer=fitted.quantizer,
        quantizer_out=_composed(fitted.out, model.quantizer_out),
        decoder=model.decoder,
        architecture=swapped_architecture(model.architecture),
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
    if out.bias is not None:
        rows = torch.cat([rows, torch.ones(len(rows), 1, dtype=rows.dtype)], dim=1)
    # The pseudo-inverse, because channels that are always 0 make the normal equations singular.
    solution = torch.linalg.pinv(rows.T @ rows, rtol=1e-9) @ (rows.T @ targets.double())
    out.weight.copy_(solution[: out.in_channels].T[:, :, None, None])
    if out.bias is not None:
        out.bias.copy_(solution[-1])


@torch.no_grad()
def _composed(first: nn.Module, second: nn.Module) -> nn.Module:
    """Return the convolution that equals `second` after `first`, of which one at least is 1 x 1, or either the identity."""
    if not isinstance(first, nn.Conv2d) or not isinstance(second, nn.Conv2d):
        return second if isinstance(first, nn.Identity) else first
    assert second.kernel_size == (1, 1) or first.bias is None, "the padding of `second` comes after the bias of `first`"
    side = max(first.kernel_size[0], second.kernel_size[0])
    both = nn.Conv2d(first.in_channels, second.out_channels, side, padding=side // 2)
    inner, outer = first.weight.double(), second.weight.double()
    both.weight.copy_(einsum(outer, inner, "o m y x, m i v u -> o i y x v u").reshape(both.weight.shape))
    bias = second.bias.double()  # type: ignore[union-attr]
    if first.bias is not None:
        bias = bias + outer[:, :, 0, 0] @ first.bias.double()
    both.bias.copy_(bias)  # type: ignore[union-attr]
    return both
