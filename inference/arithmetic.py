"""How pixels go through the encoder, exactly (float32) or fast, and tokens through the decoder."""

from collections.abc import Callable, Iterable
from itertools import groupby, islice
from operator import attrgetter
from typing import TypeAlias

import torch
from torch import Tensor

from ..tokenizer.devices import multiplies_bfloat16
from ..tokenizer.model import VisualTokenizer
from ..tokenizer.numerics.exact import DEVICE_BATCH, batch_for, filled_up, run_exactly
from ..tokenizer.numerics.float32 import own_numerics
from ..tokenizer.shapes import Pixels, Tokens

Encode: TypeAlias = Callable[[Pixels], Tokens]

MAX_IMAGES = 64
"""Images that are held as pixels at a time."""
MAX_PIXELS = 1 << 24
"""Pixels of these (200 MB), unless one image has more."""
EXACT_ARITHMETIC = "float32"
COMPILED, EAGER = "compiled", "eager"
COMPILING_PAYS = 2_000_000_000
"""Bytes of images (about 20,000 files) that repay the half minute of compiling."""


def encode_images(images: Iterable[Pixels], encode: Encode, device: torch.device) -> Tokens:
    """Return the tokens of images `1 c h w`, in their order, on `device`; raise ValueError when their grids differ."""
    tokens: list[Tokens] = []
    for shape, same in groupby(images, attrgetter("shape")):
        size = max(1, min(MAX_IMAGES, MAX_PIXELS // shape[2:].numel()))
        while batch := [image.to(device) for image in islice(same, size)]:
            tokens.append(encode(torch.cat(batch)))
        first, *others = sorted({tuple(each.shape[2:]) for each in tokens})
        if others:
            raise ValueError(
                f"The images have different token grids ({first} and {others[0]}): encode them one at a time, or resize "
                "them to one size."
            )
    with own_numerics(device):
        return torch.cat(tokens).to(device)


def encode_exactly(model: VisualTokenizer, device: torch.device, batch_size: int, pixels: Pixels) -> Tokens:
    """Return the tokens of pixels `b c h w` on the CPU, in float32, a pure function of each image.

    Thread-safe. On a CPU each core takes one image. Raises ValueError when the encoder's output is not finite.
    """

    def encode(batch: Pixels) -> tuple[Tokens, Tensor]:
        latent = model.encode_latent(batch.contiguous(memory_format=torch.channels_last))
        return model.quantizer(latent).tokens, latent.isfinite().flatten(1).all(dim=1)

    tokens, is_finite = run_exactly(encode, pixels, device, batch_for(batch_size, *pixels.shape[2:]))
    if not is_finite.all():
        raise ValueError("The encoder's output is NaN or infinite: load other weights, or give other pixels.")
    return tokens.cpu()


def decode_exactly(model: VisualTokenizer, device: torch.device, batch_size: int, tokens: Tokens) -> Pixels:
    """Return the pixels in [-1, 1] of tokens `b q y x` on `device`, as `encode_exactly` does."""

    def decode(batch: Tokens) -> tuple[Pixels]:
        return (model.decode_latent(model.quantizer.codes_of(batch)),)

    size = batch_for(batch_size, *(side * model.downsample for side in tokens.shape[2:]))
    (pixels,) = run_exactly(decode, tokens, device, size)
    if not pixels.isfinite().all():
        raise ValueError("The decoder's output is NaN or infinite: load other weights, these are damaged.")
    return pixels.clamp(-1, 1)


def fast_precision(device: torch.device, compiled: bool, batch_size: int | None = None) -> str:
    """Return what `fast_encode` calculates in, such as `bfloat16-compiled-8`; only equal ones give equal tokens everywhere."""
    dtype = "bfloat16" if multiplies_bfloat16(device) else EXACT_ARITHMETIC
    size = batch_size or (8 if device.type == "cpu" else DEVICE_BATCH)
    return f"{dtype}-{COMPILED if compiled else EAGER}-{size}"


def fast_encode(model: VisualTokenizer, device: torch.device, precision: str) -> Encode:
    """Return a thread-safe function from pixels `b c h w` to tokens on the CPU; a few may differ from the exact ones."""
    dtype, form, batch_size = precision.split("-")
    inner = torch.compile(model.encode) if form == COMPILED else model.encode

    def encode(batch: Pixels) -> tuple[Tensor]:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
            return (inner(batch.contiguous(memory_format=torch.channels_last)),)

    @torch.inference_mode()
    def encode_all(pixels: Pixels) -> Tokens:
        size = batch_for(int(batch_size), *pixels.shape[2:])
        return torch.cat([filled_up(encode, part.to(device), size)[0].cpu() for part in pixels.split(size)])

    return encode_all


def agreement(exact: Encode, fast: Encode, pixels: list[Pixels]) -> float:
    """Return the fraction of tokens, over all images, on which two functions agree."""
    same = [exact(image) == fast(image) for image in pixels]
    return float(torch.cat([part.flatten() for part in same]).float().mean())
