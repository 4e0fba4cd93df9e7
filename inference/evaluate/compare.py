"""Measure several tokenizers alike: on their own crops of the same images, and on a common crop."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...evaluation.prior.measure import Prior
from ...evaluation.reference_metrics import ReferenceMetrics
from ...evaluation.usage import even_usage, is_hashed
from ...tokenizer.errors import WorkFailedError
from ...tokenizer.folder.config_json import TokenizerConfig
from ...tokenizer.preprocessing import PreprocessingConfig
from ..api import Tokenizer, load
from ..arithmetic import PLAIN_DECODER, DecoderChoice
from ..decoders import chosen_decoder
from ..folders import load_named
from ..inputs.samples import Failure, Sample
from .common_crop import CommonCrop, common_crop
from .evaluation import Evaluation, EvaluationInputs, Example, evaluate
from .prior import PriorRequest


class Measured(NamedTuple):
    """What was measured of a tokenizer on one crop of the images; it holds no weights."""

    preprocessing: PreprocessingConfig
    figures: dict[str, float | None]
    """By the key of metrics.json."""
    counts: Tensor
    """How often each code occurs."""
    not_measured: dict[str, str]
    """Reasons by the name of the figure."""
    examples: list[Example]
    sources: list[str]
    """The images, in order."""
    failures: list[Failure]
    lost: list[str]
    prior: Prior | None = None


class Compared(NamedTuple):
    """One of the tokenizers."""

    name: str
    """A short name that tells it from the others."""
    model: str
    """Its name as given."""
    config: TokenizerConfig
    fingerprint: str
    vocab_size: int
    device: torch.device
    """Where it was measured."""
    own: Measured
    """On its own crop, with its own preprocessing."""
    common: Measured | None
    """On the common crop; the same object as `own` if that is its own. None if there is no common crop."""

    @property
    def is_estimated(self) -> bool:
        """Whether usage and perplexity are estimates."""
        return is_hashed(self.own.counts, self.vocab_size)


class Comparison(NamedTuple):
    """Several tokenizers on the same images."""

    data: list[str]
    crop: CommonCrop
    compared: list[Compared]
    lost: list[str]
    """A phrase for each damaged shard and for each file that the disk did not give."""
    decoder: DecoderChoice = PLAIN_DECODER
    """Which decoder of each made the reconstructions, with which seed."""

    @property
    def failures(self) -> list[Failure]:
        """The images that could not be used."""
        return self.compared[0].own.failures


def read_configs(models: Mapping[str, str], decoder: DecoderChoice = PLAIN_DECODER) -> dict[str, TokenizerConfig]:
    """Load each tokenizer, by its short name, and let it go again.

    Raises ValueError for the first that cannot be loaded, or has no such decoder.
    """
    return {name: _read_config(model, decoder) for name, model in models.items()}


def _read_config(model: str, decoder: DecoderChoice) -> TokenizerConfig:
    loaded, config = load_named(model, torch.float32)
    try:
        chosen_decoder(loaded, *decoder)
    except ValueError as error:
        raise ValueError(f"{model}: {error}") from None
    return config


def compare(
    models: Mapping[str, str],
    inputs: EvaluationInputs,
    device: str,
    build_reference: Callable[[], ReferenceMetrics],
    progress: Callable[[str, Sequence[Sample]], Iterable[Sample]],
    prior: PriorRequest | None = None,
    decoder: DecoderChoice = PLAIN_DECODER,
) -> Comparison:
    """Measure tokenizers, by their short names, one after another; only one of them is in memory at a time.

    `progress` wraps the samples that a phrase tells what they are used for. A `prior` is trained on the tokens of the common
    crop, or of the own crops where there is none. Raises ValueError before any work when a
    tokenizer cannot be loaded, and WorkFailedError when no image can be read, or not the same images for all.
    """
    crop = common_crop(read_configs(models, decoder))
    compared: list[Compared] = []
    for name, model in models.items():
        compared.append(_measure(name, model, crop, inputs, device, build_reference, progress, prior, decoder))
        _check_same_images(compared)
    parts = [part for each in compared for part in (each.own, each.common) if part]
    lost = list(dict.fromkeys(phrase for part in parts for phrase in part.lost))
    return Comparison(inputs.data, crop, compared, lost, decoder)


def _measure(
    name: str,
    model: str,
    crop: CommonCrop,
    inputs: EvaluationInputs,
    device: str,
    build_reference: Callable[[], ReferenceMetrics],
    progress: Callable[[str, Sequence[Sample]], Iterable[Sample]],
    prior: PriorRequest | None,
    decoder: DecoderChoice,
) -> Compared:
    tokenizer = load(model, device)
    differs = crop.preprocessing is not None and crop.preprocessing != tokenizer.config.preprocessing

    def measured(tokenizer: Tokenizer, phrase: str) -> Measured:
        samples = progress(f"images with {name}, {phrase}", inputs.samples)
        asked = None if differs and phrase == "own crop" else prior
        again = inputs.again()
        return _measured(evaluate(model, tokenizer, again, build_reference(), lambda _: samples, asked, decoder))

    own = measured(tokenizer, "own crop")
    common = own if crop.preprocessing else None
    if crop.preprocessing and differs:
        common = measured(tokenizer.with_preprocessing(crop.preprocessing), "common crop")
    facts = tokenizer.config, tokenizer.fingerprint, tokenizer.vocab_size, tokenizer.device
    return Compared(name, model, *facts, own, common)


def _measured(evaluation: Evaluation) -> Measured:
    counts, vocab_size = evaluation.measured.counts, evaluation.tokenizer.vocab_size
    tokens = counts.sum(dim=1).tolist()
    figures = evaluation.figures() | {
        "even_usage": sum(even_usage(count, vocab_size) for count in tokens) / len(tokens),
        "tokens_per_image": sum(tokens) / evaluation.measured.quality.images,
    }
    return Measured(
        evaluation.tokenizer.config.preprocessing,
        figures,
        counts,
        evaluation.not_measured,
        evaluation.examples,
        evaluation.sources,
        evaluation.inputs.failures,
        evaluation.inputs.lost,
        evaluation.prior,
    )


def _check_same_images(compared: list[Compared]) -> None:
    """Raise WorkFailedError unless the last tokenizer was measured on the images of the first, on both crops."""
    first, last = compared[0], compared[-1]
    for part in (last.own, last.common):
        if part is not None and part.sources != first.own.sources:
            differing = min(set(part.sources) ^ set(first.own.sources), default="An image")
            names = " or ".join(dict.fromkeys((first.name, last.name)))
            raise WorkFailedError(
                f"{differing} could be used on one crop with {names}, but not on all, so their figures cannot be compared: "
                "leave it out, or try again if the disk failed."
            )
