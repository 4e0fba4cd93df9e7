"""How many images the fast encoder takes at a time, measured on the device in a few seconds."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from weakref import WeakKeyDictionary

import torch

from ..tokenizer.model import VisualTokenizer
from ..tokenizer.numerics.exact import batch_for
from .fast import FastEncoder, fast_precision

SIZES = (16, 32, 64, 128, 256)
ENOUGH = 0.97
"""Fraction of the best rate that a smaller batch may have: it needs less memory, and pads less at the end of a shard."""
FREE_MEMORY = 0.8
"""Fraction of the free memory that a batch may take."""
ROUNDS = 3
LONGEST = 1.0
"""Seconds a batch may take; larger ones are not tried."""

_known: WeakKeyDictionary[VisualTokenizer, dict[tuple[torch.device, int], int]] = WeakKeyDictionary()


def probed_batch(model: VisualTokenizer, device: torch.device, side: int) -> int:
    """Return the batch size that encodes images of `side` x `side` pixels nearly fastest; measured once per process.

    The measurement is of the network without compilation, which would take half a minute for each size.
    """
    known = _known.setdefault(model, {})
    if (device, side) not in known:
        known[device, side] = smallest_of_the_fastest(dict(_rates(model, device, side)))
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # the largest batch that was tried is not the one that is used
    return known[device, side]


def smallest_of_the_fastest(rates: dict[int, float]) -> int:
    """Return the smallest batch size whose images per second are ENOUGH of the best; the smallest of all where none fits."""
    best = max(rates.values(), default=0.0)
    return next((size for size, rate in sorted(rates.items()) if rate >= ENOUGH * best), SIZES[0])


def _rates(model: VisualTokenizer, device: torch.device, side: int) -> Iterator[tuple[int, float]]:
    taken = 0  # bytes of the last batch
    count = 0
    for size in SIZES:
        before, count = count, batch_for(size, side, side)
        if count == before:
            continue
        if before and taken * count / before > FREE_MEMORY * _free_bytes(device):
            return
        try:
            seconds, taken = _trial(model, device, size, (count, side, side, 3))
        except RuntimeError:  # out of memory, as torch, cuDNN or cuBLAS say it, or too large for an operator
            return
        yield size, count / seconds
        if 2 * seconds > LONGEST:
            return


def _trial(model: VisualTokenizer, device: torch.device, size: int, shape: tuple[int, ...]) -> tuple[float, int]:
    """Return the seconds of a batch and the bytes that it takes besides the weights; nothing of it stays."""
    encode = FastEncoder(model, device, fast_precision(device, compiled=False, batch_size=size))
    images = torch.randint(256, shape, dtype=torch.uint8, device=device)
    torch.cuda.reset_peak_memory_stats(device)
    held = torch.cuda.memory_allocated(device)
    seconds = timed(partial(encode, images))
    return seconds, torch.cuda.max_memory_allocated(device) - held


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of the fastest of a few rounds of work that ends with its result on the host."""
    work()
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _free_bytes(device: torch.device) -> int:
    """Return the bytes that nobody has, and those that torch has reserved and does not use."""
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused
