"""The result of an extra decoder's fine-tuning: the tokenizer's folder as it was, with the decoder and its card."""

from pathlib import Path

import torch

from ...evaluation.rows import finite_figures
from ...tokenizer.decoders.base import DecoderCard
from ...tokenizer.folder.decoders import load_decoder, save_decoder
from ...tokenizer.folder.save_load import LoadedTokenizer, load_tokenizer
from ..export import EXPORT, copy_tokenizer, export_with
from .compared import Comparison, Evaluated
from .decoder_checks import check_same_tokenizer
from .decoder_config import GenerativeConfig
from .prepare import Finetuning

FIELDS = ("images", "milliseconds")
"""Figures that have a field of their own on the card; the others that were measured are all among its figures."""


def export_decoder(run: Finetuning, generative: GenerativeConfig, folder: Path) -> LoadedTokenizer:
    """Write the tokenizer with the decoder that the last stage left in `folder` as the result, and load both from there.

    Raises ValueError, before anything is written, when the tokenizer is another one by now.
    """
    name, result = generative.name, run.config.out / EXPORT
    check_same_tokenizer(run, folder)
    trained = load_tokenizer(folder).model
    decoder = load_decoder(folder, name, trained)
    dtype = getattr(torch, generative.export_precision)

    def save(target: Path) -> None:
        copy_tokenizer(run.folder, target, without=name)
        save_decoder(target, name, decoder, trained, dtype)

    export_with(save, result)
    loaded = load_tokenizer(result)
    loaded.model.decoders[name] = load_decoder(result, name, loaded.model)
    return loaded


def save_decoder_card(
    run: Finetuning, generative: GenerativeConfig, after: LoadedTokenizer, compared: Comparison
) -> None:
    """Write what was measured into the decoder's card, in the result."""
    decoder = after.model.extra_decoder(generative.name)
    decoder.card = DecoderCard(
        images=compared.metrics["images"],
        judge=compared.metrics["judge"],
        figures=_figures(compared.after),
        plain=_figures(compared.before),
        milliseconds=compared.after.figures["milliseconds"],
        plain_milliseconds=compared.before.figures["milliseconds"],
    )
    dtype = getattr(torch, generative.export_precision)
    save_decoder(run.config.out / EXPORT, generative.name, decoder, after.model, dtype)


def _figures(evaluated: Evaluated) -> dict[str, float]:
    found = finite_figures(evaluated.figures)
    return {name: value for name, value in found.items() if value is not None and name not in FIELDS}
