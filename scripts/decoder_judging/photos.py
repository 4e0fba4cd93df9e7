"""The photos that all decoders are judged on, and square patches of them."""

import hashlib
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

import vistok
from vistok.evaluation.running_covariance import RunningCovariance
from vistok.images.preprocessing import stack_pixels
from vistok.inference.evaluate.evaluation import EvaluationInputs
from vistok.tokenizer.devices import in_float64
from vistok.tokenizer.numerics.exact import in_batches
from vistok.tokenizer.numerics.float32 import own_numerics

FEATURES = 64
"""Patches whose features are calculated together."""


class Photos(NamedTuple):
    """Photos as a tokenizer preprocesses them."""

    names: list[str]
    arrays: list[np.ndarray]
    """uint8 `h w c`."""

    def batches(self) -> list[Tensor]:
        """Return pixels `b c h w` in [-1, 1], on the CPU."""
        return list(in_batches(stack_pixels([array]) for array in self.arrays))

    def digest(self) -> str:
        """Return the SHA-256 of all pixels."""
        digested = hashlib.sha256()
        for array in self.arrays:
            digested.update(f"{array.shape}".encode() + array.tobytes())
        return digested.hexdigest()


def read_photos(data: list[str], tokenizer: vistok.Tokenizer, count: int | None) -> Photos:
    """Read the first `count` photos, or all."""
    inputs = EvaluationInputs(data)
    read = list(inputs.images(inputs.samples[:count], tokenizer))
    if inputs.lost or inputs.failures:
        raise ValueError(f"Some of {', '.join(data)} cannot be read: remove or mend them, for the figures to compare.")
    return Photos([image.sample.key for image in read], [image.pixels for image in read])


class PatchDistance:
    """Frechet distance between patches of the photos and of reconstructions, over the features of a frozen network.

    `per_image` patches of `side` pixels lie on an even grid over each photo, and may overlap.
    """

    def __init__(self, features: Callable[[Tensor], Tensor], side: int, per_image: int):
        self._features = features
        self._side = side
        self._across = math.ceil(math.sqrt(per_image))

    def per_image(self) -> int:
        """Return how many patches a photo has."""
        return self._across**2

    def statistics(self, batches: list[Tensor]) -> RunningCovariance:
        """Return mean and covariance of the features of all patches of some images."""
        running: RunningCovariance | None = None
        for pixels in batches:
            found = self.of(pixels)
            running = running or RunningCovariance(found.shape[1], found.device, full=True)
            running.add_vectors(found)
        assert running
        return running

    def of(self, pixels: Tensor) -> Tensor:
        """Return the features of the patches of images, `n d` in float64."""
        with own_numerics(pixels.device):
            cut = patches(pixels, self._side, self._across)
            return torch.cat([in_float64(self._features(part)) for part in cut.split(FEATURES)])


def patches(pixels: Tensor, side: int, across: int) -> Tensor:
    """Return `across` x `across` patches of each image, `n c side side`, spread evenly from border to border."""
    height, width = pixels.shape[2:]
    if min(height, width) < side:
        raise ValueError(f"Photos of {height} x {width} have no patches of {side} pixels: give a smaller --patch.")
    rows, columns = (np.linspace(0, length - side, across).round().astype(int) for length in (height, width))
    return torch.cat([pixels[:, :, top : top + side, left : left + side] for top in rows for left in columns])
