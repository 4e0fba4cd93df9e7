"""How pixels go through the encoder: exactly, or fast.

Exact: float32, one answer for each image whatever its neighbours (see `tokenizer.exact`).
Fast: bfloat16 where the processor multiplies it natively, compiled when the work is long enough to pay.
Both take their pixels channels-last in memory, as the model's weights are.
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

FAST_BATCH = 8
EXACT_ARITHMETIC = "float32"
COMPILED, EAGER = "compiled", "eager"
COMPILING_PAYS = 20_000
"""Images from which the half minute of compiling is won back."""


def exact_encode(model: VisualTokenizer, device: torch.device, batch_size: int = DEVICE_BATCH) -> Encode:
    """Return a function from pixels to tokens (on the CPU) in float32, a pure function of each image by itself.

    Several threads may call it at once. On a CPU it takes as many cores as torch may use in the calling thread, each for an
    image of its own.
    """
    return partial(_exact_tokens, model, device, batch_size)


def _exact_tokens(model: VisualTokenizer, device: torch.device, batch_size: int, pixels: Pixels) -> Tokens:
    def encode(batch: Pixels) -> tuple[Tokens, Tensor]:
        latent = model.encode_latent(batch.contiguous(memory_format=torch.channels_last))
        return model.quantizer(latent).tokens, latent.isfinite().flatten(1).all(dim=1)

    tokens, is_finite = run_exactly(encode, pixels, device, batch_for(batch_size, *pixels.shape[2:]))
    if not is_finite.all():
        raise ValueError(
            "The encoder gives values that are NaN or infinite: load other weights, or give other pixels: these are damaged."
        )
    return tokens.cpu()


class Fast(NamedTuple):
    """How `fast_encode` calculates; equal ones may be mixed, others give other tokens in a few places."""

    dtype: Literal["bfloat16", "float32"]
    compiled: bool
    batch_size: int
    """Images that go through the network together, a last batch being filled up."""

    def __str__(self) -> str:
        return f"{self.dtype}-{COMPILED if self.compiled else EAGER}-{self.batch_size}"


def fast_on(device: torch.device, compiled: bool, batch_size: int | None = None) -> Fast:
    """Return what is fast on a device; `batch_size` is by default what it does best."""
    size = batch_size or (FAST_BATCH if device.type == "cpu" else DEVICE_BATCH)
    return Fast("bfloat16" if multiplies_bfloat16(device) else "float32", compiled, size)


def parse_fast(text: str) -> Fast:
    """Return what `str` made a text of."""
    dtype, form, size = text.split("-")
    return Fast("bfloat16" if dtype == "bfloat16" else "float32", form == COMPILED, int(size))


def fast_encode(model: VisualTokenizer, device: torch.device, fast: Fast) -> Encode:
    """Return a function from pixels to tokens (on the CPU) that may differ from the exact one in a few tokens.

    Several threads may call it at once.
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
    """Return the fraction of the tokens of some images that both functions give alike."""
    same = [exact(image) == fast(image) for image in pixels]
    return float(torch.cat([part.flatten() for part in same]).float().mean())
