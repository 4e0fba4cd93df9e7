"""How pixels go through the encoder: exactly, or fast.

Exact: float32, one answer for each image whatever its neighbours (see `tokenizer.exact`).
Fast: bfloat16 where the processor multiplies it natively, compiled when the work is long enough to pay.
Both take their pixels channels-last in memory, as the model's weights are.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from ..tokenizer.devices import multiplies_bfloat16
from ..tokenizer.exact import DEVICE_BATCH, batch_for, run_exactly
from ..tokenizer.model import VisualTokenizer
from ..tokenizer.shapes import Pixels, Tokens

Encode: TypeAlias = Callable[[Pixels], Tokens]

FAST_BATCH = 8
EXACT_ARITHMETIC = "float32"
COMPILED = "-compiled"
COMPILING_PAYS = 20_000
"""Pictures from which the half minute of compiling is won back."""


def exact_encode(model: VisualTokenizer, device: torch.device, batch_size: int = DEVICE_BATCH) -> Encode:
    """Return a function from pixels to tokens (on the CPU) in float32, a pure function of each image by itself.

    Several threads may call it at once. On a CPU it takes as many cores as torch may use in the calling thread, each for an
    image of its own.
    """
    return partial(_exact_tokens, model, device, batch_size)


def _exact_tokens(model: VisualTokenizer, device: torch.device, batch_size: int, pixels: Pixels) -> Tokens:
    def encode(batch: Pixels) -> tuple[Tokens]:
        return (model.encode(batch.contiguous(memory_format=torch.channels_last)),)

    (tokens,) = run_exactly(encode, pixels, device, batch_for(batch_size, *pixels.shape[2:]))
    return tokens.cpu()


def fast_encode(model: VisualTokenizer, device: torch.device, compiled: bool, batch_size: int | None = None) -> Encode:
    """Return a function from pixels to tokens (on the CPU) that may differ from the exact one in a few tokens.

    Several threads may call it at once. Batches are of `batch_size`, by default what the device does best.
    """
    half = multiplies_bfloat16(device)
    inner = torch.compile(model.encode) if compiled else model.encode
    size = batch_size or (FAST_BATCH if device.type == "cpu" else DEVICE_BATCH)

    @torch.inference_mode()
    def encode(pixels: Pixels) -> Tokens:
        missing = size - len(pixels)
        filled = torch.cat([pixels, pixels.new_zeros(missing, *pixels.shape[1:])]) if missing else pixels
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
            tokens: Tensor = inner(filled.to(device).contiguous(memory_format=torch.channels_last))
        return tokens[: len(pixels)].cpu()

    return lambda pixels: torch.cat([encode(part) for part in pixels.split(size)])


def fast_arithmetic(device: torch.device, compiled: bool) -> str:
    """Return the name of what `fast_encode` calculates in, such as bfloat16-eager: equal names may be mixed."""
    return ("bfloat16" if multiplies_bfloat16(device) else "float32") + (COMPILED if compiled else "-eager")


def agreement(exact: Encode, fast: Encode, pixels: list[Pixels]) -> float:
    """Return the share of the tokens of some pictures that both functions give alike."""
    same = [exact(picture) == fast(picture) for picture in pixels]
    return float(torch.cat([part.flatten() for part in same]).float().mean())
