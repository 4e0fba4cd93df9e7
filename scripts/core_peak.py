"""What a network costs at least on one core: its arithmetic at the speed of one large convolution."""

import time
from typing import NamedTuple

import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import vistok
from gpu_sections.models import random_tokenizer

CHANNELS, SIDE, ROUNDS = 128, 128, 7


class Peak(NamedTuple):
    """The arithmetic of an image, and how fast a core is."""

    flops: int
    """Of the encoder and the quantizer, for one image."""
    flops_per_second: dict[str, float]
    """Of one core in a large convolution, by the type of its numbers."""

    def seconds(self, arithmetic: str) -> float:
        """Return the seconds that one core needs at least for an image."""
        return self.flops / self.flops_per_second[arithmetic]


def peak_of(model: str, is_small: bool) -> Peak:
    """Measure with one thread; `model` is photo-f8, or a kind of network with random weights."""
    tokenizer = vistok.load(model, "cpu") if model == "photo-f8" else random_tokenizer(model, is_small).to("cpu")
    side = 64 if is_small else int(tokenizer.config.preprocessing.side)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        tokenizer.model.encode(torch.zeros(1, 3, side, side))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rates = {"float32": _rate(torch.float32), "bfloat16": _rate(torch.bfloat16)}
    finally:
        torch.set_num_threads(threads)
    return Peak(counter.get_total_flops(), rates)


@torch.inference_mode()
def _rate(dtype: torch.dtype) -> float:
    layout = torch.channels_last
    images = torch.randn(1, CHANNELS, SIDE, SIDE).to(dtype).contiguous(memory_format=layout)
    weight = torch.randn(CHANNELS, CHANNELS, 3, 3).to(dtype).contiguous(memory_format=layout)
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        functional.conv2d(images, weight, padding=1)
        seconds.append(time.perf_counter() - began)
    return 2 * CHANNELS**2 * 9 * SIDE**2 / min(seconds)
