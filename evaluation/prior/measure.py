"""Measure how learnable the tokens of images are."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...tokenizer.quantizers.base import Quantizer
from .code_length import code_lengths
from .features import code_features
from .frequencies import frequency_bits, log_frequencies
from .recipe import MAX_VALIDATION_SYMBOLS, RECIPE, Recipe
from .split import Split, split_images
from .symbols import Alphabet, Symbols
from .training import Check, build, train
from .windows import Windows

PRIOR_FIGURES = ("prior_bits_per_image", "prior_bits_per_pixel", "prior_bits_per_token", "prior_fraction")
"""Keys of the figures in metrics.json."""


class ImageTokens(NamedTuple):
    """What a prior is told of an image."""

    group: str
    """Name of the image that it was made of: all of a group are on one side of the split."""
    tokens: Tensor
    """`q y x`, any integer type, on the CPU."""
    pixels: int
    """Pixels that the tokens encode."""


class Prior(NamedTuple):
    """The bits of held-out images under a transformer that was trained on the others."""

    bits: list[float]
    """Bits of each held-out image, without those of the size of its grid."""
    frequency_bits: list[float]
    """The same from the smoothed frequencies of the training images alone, without any context."""
    tokens: int
    """Tokens of the held-out images."""
    pixels: int
    """Pixels of the held-out images."""
    vocab_size: int
    split: Split
    checks: list[Check]
    kept: Check
    """The check whose weights were kept."""
    steps: int
    seed: int
    radices: list[tuple[int, ...]]
    """Values of the digits of a token, for each codebook."""
    parameters: int
    """Parameters of the blocks: without embeddings and output, which depend on the number of codes."""

    def figures(self) -> dict[str, float | None]:
        """Return the figures by their keys in metrics.json."""
        bits = math.fsum(self.bits)
        per_token = bits / self.tokens
        values = bits / len(self.bits), bits / self.pixels, per_token, per_token / math.log2(self.vocab_size)
        return dict(zip(PRIOR_FIGURES, values, strict=True))

    def facts(self) -> dict[str, Any]:
        """Return what else metrics.json says of the prior."""
        mean = math.fsum(self.bits) / len(self.bits)
        variance = math.fsum((each - mean) ** 2 for each in self.bits) / max(1, len(self.bits) - 1)
        return {
            "steps": self.steps,
            "kept_step": self.kept.step,
            "seed": self.seed,
            "images": {name: len(indices) for name, indices in self.split._asdict().items()},
            "standard_error_of_bits_per_image": math.sqrt(variance / len(self.bits)),
            "frequency_bits_per_token": math.fsum(self.frequency_bits) / self.tokens,
            "validation_bits_per_symbol": [check._asdict() for check in self.checks],
            "digits_of_a_token": self.radices,
            "parameters_of_the_blocks": self.parameters,
            "recipe": RECIPE._asdict(),
        }


def measure_prior(
    images: Sequence[ImageTokens],
    quantizer: Quantizer,
    steps: int,
    device: torch.device,
    seed: int = 0,
    recipe: Recipe = RECIPE,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Prior:
    """Train a prior for `steps` steps on a quantizer's tokens of some of the images, and return the bits of those held out.

    Raises TooFewImagesError as `split_images` does. `progress` wraps the steps.
    """
    with torch.inference_mode(False), torch.device("cpu"):  # whatever the caller has set
        split = split_images([image.group for image in images], recipe)
        alphabet = Alphabet.of(quantizer)
        features = code_features(quantizer, alphabet)
        symbols = [alphabet.symbols(image.tokens) for image in images]
        validation = _affordable(split.validation, symbols)
        network = build(alphabet, features, symbols, recipe, seed, device)
        windows = Windows(alphabet, symbols, recipe.context)
        trained = train(network, windows, split.train, validation, steps, recipe, seed, progress)
        bits = code_lengths(trained.network, windows, split.held_out)
        frequencies = log_frequencies(alphabet, [symbols[index] for index in split.train])
        held_out = [images[index] for index in split.held_out]
        return Prior(
            bits=bits.tolist(),
            frequency_bits=frequency_bits(alphabet, frequencies, [symbols[index] for index in split.held_out]),
            tokens=sum(image.tokens.numel() for image in held_out),
            pixels=sum(image.pixels for image in held_out),
            vocab_size=alphabet.vocab_size,
            split=split._replace(validation=validation),
            checks=trained.checks,
            kept=trained.kept,
            steps=steps,
            seed=seed,
            radices=alphabet.radices,
            parameters=sum(weight.numel() for weight in network.blocks.parameters()),
        )


def _affordable(indices: Sequence[int], symbols: Sequence[Symbols]) -> list[int]:
    """Return the first images whose symbols are within MAX_VALIDATION_SYMBOLS, at least one."""
    kept, total = list(indices[:1]), 0
    total = sum(len(symbols[index].values) for index in kept)
    for index in indices[1:]:
        total += len(symbols[index].values)
        if total > MAX_VALIDATION_SYMBOLS:
            break
        kept.append(index)
    return kept
