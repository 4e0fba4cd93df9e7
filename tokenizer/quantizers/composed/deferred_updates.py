"""One note of a forward, for quantizers that are called several times in it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ..vector.quantizer import VectorQuantizer


@contextmanager
def noticed_once(module: nn.Module) -> Iterator[None]:
    """Let the vector quantizers inside take note of what they see at the end, once, however often they are called.

    So levels, groups or scales that share one see the same codes in a forward. Blocks may be nested; the outermost counts.
    """
    quantizers = [inner for inner in module.modules() if isinstance(inner, VectorQuantizer) and inner.held is None]
    for quantizer in quantizers:
        quantizer.held = []
    try:
        yield
    finally:
        seen = [quantizer.held for quantizer in quantizers]
        for quantizer in quantizers:
            quantizer.held = None
    for quantizer, held in zip(quantizers, seen, strict=True):
        if held:
            quantizer.notice(torch.cat([vectors for vectors, _ in held]), torch.cat([numbers for _, numbers in held]))
