"""The bits of images under a prior: a code length, whose negative powers of two add up to one over all images of a grid."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...tokenizer.numerics.exact import spread
from ...tokenizer.numerics.float32 import own_numerics
from .network import PriorNetwork
from .windows import Window, Windows


def code_lengths(network: PriorNetwork, windows: Windows, images: Sequence[int]) -> Tensor:
    """Return the bits of each image, float64 on the CPU: minus the log2 of the product of all its conditionals."""
    listed = [(order, window) for order, image in enumerate(images) for window in windows.all_of(image)]
    parts = [listed[start : start + windows.per_part] for start in range(0, len(listed), windows.per_part)]
    device = network.bias.device

    def bits(part: list[tuple[int, Window]]) -> Tensor:
        batch = windows.batch([window for _, window in part], device)
        with own_numerics(device):
            nats = network(batch).masked_fill(~batch.counted, 0)
            return nats.cpu().double().sum(dim=1) / math.log(2)

    totals = torch.zeros(len(images), dtype=torch.float64)
    for part, found in zip(parts, spread(bits, parts, torch.get_num_threads()), strict=True):
        for (order, _), value in zip(part, found, strict=True):
            totals[order] += value
    return totals


def mean_bits(network: PriorNetwork, windows: Windows, images: Sequence[int]) -> float:
    """Return the bits per symbol of images."""
    symbols = sum(len(windows.images[image].values) for image in images)
    return float(code_lengths(network, windows, images).sum()) / symbols
