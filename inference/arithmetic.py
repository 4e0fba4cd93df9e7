"""How pixels go through the encoder, exactly or fast, and tokens through the decoder.

Exact: float32, and the result for an image never depends on its neighbours (see `tokenizer.numerics.exact`).
Fast: bfloat16 where the processor multiplies it natively, compiled when there is enough work to repay that.
Pixels are channels-last in memory, as the model's weights are.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from ..tokenizer.devices import multiplies_bfloat16
from ..tokenizer.model import VisualTokenizer
from ..tokenizer.numerics.exact import DEVICE_BATCH, batch_for, filled_up, run_exactly
from ..tokenizer.shapes import Pixels, Tokens

Encode: TypeAlias = Callable[[Pixels], Tokens]
Decode: TypeAlias = Callable[[Tokens], Pixels]

FAST_BATCH = 8
EXACT_ARITHMETIC = "float32"
COMPILED, EAGER = "compiled", "eager"
COMPILING_PAYS = 20_000
"""Number of images that repays the half minute of compiling."""


def exact_encode(model: VisualTokenizer, device: torch.device, batch_size: int = DEVICE_BATCH) -> Encode:
    """Return a function from pixels `b c h w` to tokens on the CPU, in float32, a pure function of each image.

    It is thread-safe. On a CPU it uses as many cores as torch may use in the calling thread, one per image. It raises
    ValueError when the encoder's output is not finite.
    """
    return partial(_exact_tokens, model, device, batch_size)


def _exact_tokens(model: VisualTokenizer, device: torch.device, batch_size: int, pixels: Pixels) -> Tokens:
    def encode(batch: Pixels) -> tuple[Tokens, Tensor]:
        latent = model.encode_latent(batch.contiguous(memory_format=torch.channels_last))
        return model.quantizer(latent).tokens, latent.isfinite().flatten(1).all(dim=1)

    tokens, is_finite = run_exactly(encode, pixels, device, batch_for(batch_size, *pixels.shape[2:]))
    if not is_finite.all():
        raise ValueError("The encoder's output is NaN or infinite: load other weights, or give other pixels.")
    return tokens.cpu()


def exact_decode(model: VisualTokenizer, device: torch.device, batch_size: int = DEVICE_BATCH) -> Decode:
    """Return a function from tokens `b q y x` to pixels in [-1, 1] on `device`, in float32, a pure function of each image.

    It raises ValueError when the decoder's output is not finite.
    """
    return partial(_exact_pixels, model, device, batch_size)


def _exact_pixels(model: VisualTokenizer, device: torch.device, batch_size: int, tokens: Tokens) -> Pixels:
    def decode(batch: Tokens) -> tuple[Pixels]:
        return (model.decode_latent(model.quantizer.codes_of(batch)),)

    size = batch_for(batch_size, *(side * model.downsample for side in tokens.shape[2:]))
    (pixels,) = run_exactly(decode, tokens, device, size)
    if not pixels.isfinite().all():
        raise ValueError("The decoder's output is NaN or infinite: load other weights, these are damaged.")
    return pixels.clamp(-1, 1)


class Fast(NamedTuple):
    """How `fast_encode` calculates. Only equal settings give equal tokens everywhere; others differ in a few."""

    dtype: Literal["bfloat16", "float32"]
    compiled: bool
    batch_size: int
    """Images that go through the network together; a smaller last batch is padded."""

    def __str__(self) -> str:
        return f"{self.dtype}-{COMPILED if self.compiled else EAGER}-{self.batch_size}"


def fast_on(device: torch.device, compiled: bool, batch_size: int | None = None) -> Fast:
    """Return the fast settings for a device; the default batch size is 8 on a CPU and 16 elsewhere."""
    size = batch_size or (FAST_BATCH if device.type == "cpu" else DEVICE_BATCH)
    return Fast("bfloat16" if multiplies_bfloat16(device) else "float32", compiled, size)


def parse_fast(text: str) -> Fast:
    """Parse the text that `str` gives for a Fast."""
    dtype, form, size = text.split("-")
    return Fast("bfloat16" if dtype == "bfloat16" else "float32", form == COMPILED, int(size))


def fast_encode(model: VisualTokenizer, device: torch.device, fast: Fast) -> Encode:
    """Return a function from pixels `b c h w` to tokens on the CPU, which may differ from the exact ones in a few places.

    It is thread-safe.
    """
    inner = torch.compile(model.encode) if fast.compiled else model.encode

    def encode(batch: Pixels) -> tuple[Tensor]:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast.dtype == "bfloat16"):
            return (inner(batch.contiguous(memory_format=torch.channels_last)),)

    @torch.inference_mode()
    def encode_all(pixels: Pixels) -> Tokens:
        size = batch_for(fast.batch_size, *pixels.shape[2:])
        return torch.cat([filled_up(encode, part.to(device), size)[0].cpu() for part in pixels.split(size)])

    return encode_all


def agreement(exact: Encode, fast: Encode, pixels: list[Pixels]) -> float:
    """Return the fraction of tokens, over all images, on which two functions agree."""
    same = [exact(image) == fast(image) for image in pixels]
    return float(torch.cat([part.flatten() for part in same]).float().mean())
