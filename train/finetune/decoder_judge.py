"""The network that judges decoders, which none of their losses used, and the words for what they are judged by."""

import filecmp
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from ...evaluation.spectrum import radial_power
from ...perception.distance import PerceptualConfig, build_perceptual
from ...tokenizer.numerics.float32 import own_numerics
from ...tokenizer.wording import list_first
from ..losses.discriminators import BackboneDiscriminatorConfig
from ..losses.terms import ADVERSARIAL
from .decoder_config import GenerativeConfig
from .prepare import Finetuning

PERCEPTUAL = "perceptual"
NO_JUDGE = (
    "No network judges the decoders: give one that no loss uses, as --set "
    "'generative.judge={backbone: NAME, weights: FILE}', and call again."
)
REMEDY = "give their file as generative.judge.weights, or another timm model as generative.judge.backbone"
NAMED = 3
"""Sources of images that a card names."""


def build_judge(generative: GenerativeConfig) -> nn.Module | None:
    """Return the perceptual distance that judges, on the CPU, or None if no network was given.

    Raises ValueError when weights cannot be loaded or do not fit, and for the very network that a loss uses.
    """
    judge = generative.judge
    if judge is None:
        return None
    distance = build_perceptual(judge, REMEDY)
    for section, backbone, weights in _trained_with(generative):
        if backbone == judge.backbone and _is_same_file(weights, judge.weights):
            raise ValueError(
                f"generative.judge is {_named(judge)}, the network that {section} trains with, which would flatter the new "
                "decoder: give a network that no loss uses."
            )
    return distance


def check_measurable(generative: GenerativeConfig, side: int | None) -> None:
    """Raise ValueError where images of `side` x `side` cannot be judged; None stands for images of several sizes."""
    judge = build_judge(generative)
    if side is not None:
        with own_numerics(torch.device("cpu")):
            blank = torch.zeros(1, 3, side, side)
            radial_power(blank)
            if judge is not None:
                judge(blank, blank)


def judged_by(run: Finetuning, generative: GenerativeConfig) -> str:
    """Return images and judging network in words, for a decoder's card."""
    if run.config.data.val:
        images = f"images of {_sources(run.config.data.val)}"
    else:
        are_trained_on = run.val == run.train
        images = f"{'training' if are_trained_on else 'held-out'} images of {_sources(run.config.data.train)}"
    network = f"perceptual distance over {_named(generative.judge)}" if generative.judge else "no perceptual distance"
    return f"{images}; {network}"


def _trained_with(generative: GenerativeConfig) -> Iterator[tuple[str, str, Path | None]]:
    """Yield the section, name and weights of every network that a loss of the stages sees through."""
    used = {name for stage in generative.stages for name, weight in generative.losses(stage).items() if weight}
    perceptual, discriminator = generative.perceptual, generative.adversarial.discriminator
    if PERCEPTUAL in used and perceptual is not None:
        yield "generative.perceptual", perceptual.backbone, perceptual.weights
    if ADVERSARIAL in used and isinstance(discriminator, BackboneDiscriminatorConfig):
        yield "generative.adversarial", discriminator.backbone.name, discriminator.backbone.weights


def _is_same_file(one: Path | None, other: Path | None) -> bool:
    return one == other if one is None or other is None else filecmp.cmp(one, other, shallow=False)


def _named(network: PerceptualConfig) -> str:
    return network.backbone + (f" ({network.weights.name})" if network.weights else "")


def _sources(paths: list[str]) -> str:
    return list_first([Path(path).name or path for path in paths], NAMED)
