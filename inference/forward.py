"""How pixels go through the encoder: exactly, or fast.

Exact: float32, always in batches of one shape, so that the tokens of a picture do not depend on its neighbours.
(A convolution rounds differently at another batch size; at the edge between two codes that would change a token.)
Fast: bfloat16 where the processor multiplies it natively, compiled when the work is long enough to pay.
Both take their pixels channels-last in memory, as the model's weights are.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from ..tokenizer.devices import multiplies_bfloat16
from ..tokenizer.model import VisualTokenizer
from ..tokenizer.shapes import Pixels, Tokens

Encode: TypeAlias = Callable[[Pixels], Tokens]

CPU_BATCH = 1
DEVICE_BATCH = 16
FAST_BATCH = 8
EXACT_ARITHMETIC = "float32"
COMPILED = "-compiled"
COMPILING_PAYS = 20_000
"""Pictures from which the half minute of compiling is won back."""


def exact_encode(model: VisualTokenizer, device: torch.device) -> Encode:
    """Return a function from pixels to tokens (on the CPU) in float32, a pure function of each picture by itself."""
    size = CPU_BATCH if device.type == "cpu" else DEVICE_BATCH

    def encode(pixels: Pixels) -> Tokens:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            return model.encode(pixels.contiguous(memory_format=torch.channels_last))

    return _in_batches_of(size, encode, device)


def fast_encode(model: VisualTokenizer, device: torch.device, compiled: bool) -> Encode:
    """Return a function from pixels to tokens (on the CPU) that may differ from the exact one in a few tokens."""
    half = multiplies_bfloat16(device)
    inner = torch.compile(model.encode) if compiled else model.encode

    def encode(pixels: Pixels) -> Tokens:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
            return inner(pixels.contiguous(memory_format=torch.channels_last))

    return _in_batches_of(FAST_BATCH if device.type == "cpu" else DEVICE_BATCH, encode, device)


def fast_arithmetic(device: torch.device, compiled: bool) -> str:
    """Return the name of what `fast_encode` calculates in, such as bfloat16-eager: equal names may be mixed."""
    return ("bfloat16" if multiplies_bfloat16(device) else "float32") + (COMPILED if compiled else "-eager")


def agreement(exact: Encode, fast: Encode, pixels: list[Pixels]) -> float:
    """Return the share of the tokens of some pictures that both functions give alike."""
    same = [exact(picture) == fast(picture) for picture in pixels]
    return float(torch.cat([part.flatten() for part in same]).float().mean())


def _in_batches_of(size: int, encode: Encode, device: torch.device) -> Encode:
    def encode_all(pixels: Pixels) -> Tokens:
        return torch.cat([_padded(part, size, encode, device) for part in pixels.split(size)])

    return encode_all


@torch.inference_mode()
def _padded(pixels: Pixels, size: int, encode: Encode, device: torch.device) -> Tokens:
    missing = size - len(pixels)
    filled = torch.cat([pixels, pixels.new_zeros(missing, *pixels.shape[1:])]) if missing else pixels
    tokens: Tensor = encode(filled.to(device))
    return tokens[: len(pixels)].cpu()
