"""A prior over the tokens of the images that are evaluated, and what is shown of it."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from ...evaluation.prior.measure import ImageTokens, Prior, measure_prior
from ...evaluation.prior.split import TooFewImagesError, check_enough
from ...report.content import Chart, Curve
from ...tokenizer.shapes import Pixels, Tokens
from ..api import Tokenizer
from ..inputs.views import Views

VIEW = re.compile(f"_(?:{'|'.join({*Views(crops='ten').names, *Views(flip=True).names})})$")
"""What the keys of crops and mirror images end in."""


def group_of(key: str) -> str:
    """Return the key of the image that a crop or a mirror image was made of; other keys are their own."""
    return VIEW.sub("", key)


def check_images(keys: Iterable[str]) -> None:
    """Raise ValueError when there are too few different images for a prior."""
    check_enough(len(set(map(group_of, keys))))


class TokensOfImages:
    """Gathers the tokens of images in order."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self._tokens: list[Tokens] = []
        self._pixels: list[int] = []

    def add(self, tokens: Tokens, pixels: Pixels) -> None:
        """Add the tokens of a batch of images."""
        self._tokens += tokens.cpu()
        self._pixels += [pixels[0, 0].numel()] * len(pixels)

    def images(self) -> list[ImageTokens]:
        """Return all that were added, beside their keys."""
        return list(map(ImageTokens, map(group_of, self.keys), self._tokens, self._pixels))


class PriorRequest(NamedTuple):
    """What a prior is trained with."""

    steps: int
    progress: Callable[[Iterable[int]], Iterable[int]] = iter

    def measure(self, listed: TokensOfImages, tokenizer: Tokenizer) -> Prior | str:
        """Train a prior on the tokens of a tokenizer, and return it, or a sentence that says why it cannot be trained."""
        try:
            return measure_prior(
                listed.images(), tokenizer.model.quantizer, self.steps, tokenizer.device, progress=self.progress
            )
        except TooFewImagesError as error:
            return str(error)


def prior_sentence(prior: Prior) -> str:
    """Return a sentence about how a prior was trained."""
    trained, validation, held_out = map(len, prior.split)
    return (
        f"The prior is a transformer of {prior.parameters / 1e6:.1f} M parameters, trained for {prior.steps:,} steps on "
        f"{trained:,} of the images; {validation:,} others chose its weights, and its bits are those of {held_out:,} others."
    )


def prior_rows(prior: Prior) -> list[list[str]]:
    """Return the facts of a prior as rows for a page."""
    facts = prior.facts()
    rows = {
        "images trained on": f"{len(prior.split.train):,}",
        "images that chose the weights": f"{len(prior.split.validation):,}",
        "images held out": f"{len(prior.split.held_out):,}",
        "steps": f"{prior.steps:,}",
        "step whose weights were kept": f"{prior.kept.step:,}",
        "standard error of the bits per image": f"{facts['standard_error_of_bits_per_image']:,.3g}",
        "bits per token of frequencies alone": f"{facts['frequency_bits_per_token']:.3f}",
    }
    return [list(row) for row in rows.items()]


def prior_chart(priors: Mapping[str, Prior]) -> Chart:
    """Return the bits on the validation images over the steps, of priors by name."""
    curves = []
    for name, prior in priors.items():
        slots = sum(map(len, prior.radices)) / len(prior.radices)
        values = [check.bits_per_symbol * slots for check in prior.checks]
        curves.append(Curve(name, [check.step for check in prior.checks], values))
    return Chart("bits per token of the prior on validation images", curves)
