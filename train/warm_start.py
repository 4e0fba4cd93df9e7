"""The model that a run starts from."""

from pathlib import Path

import torch
from torch import Tensor

from ..tokenizer.decoders.base import ExtraDecoder
from ..tokenizer.folder.decoder_digest import decoder_digest
from ..tokenizer.folder.decoders import decoder_names, load_decoder
from ..tokenizer.folder.save_load import load_tokenizer
from ..tokenizer.model import VisualTokenizer, build_tokenizer
from .config import ModelConfig
from .generative.recipes import DecoderTrainingConfig
from .generative.scale import UNKNOWN


def starting_model(config: ModelConfig, decoder: DecoderTrainingConfig | None = None) -> VisualTokenizer:
    """Build the model of a run: a tokenizer to train, or that of `init_from` with an extra decoder to train."""
    return _starting_tokenizer(config) if decoder is None else _with_decoder(config, decoder)


def _starting_tokenizer(config: ModelConfig) -> VisualTokenizer:
    """Build the tokenizer of a run, with the weights of `init_from` where names match and shapes fit.

    A wider layer keeps the old weights: its new outputs are fresh, and its new inputs have weight 0, so they change nothing
    at first. Other weights whose shapes differ are fresh. Raises ValueError when the folder is no tokenizer or no weight
    fits.
    """
    model = build_tokenizer(config.architecture, config.quantizer)
    if config.init_from is None:
        return model
    found = load_tokenizer(config.init_from).model.state_dict()
    own = model.state_dict()
    taken = [name for name in own if name in found and _fits_into(found[name], own[name])]
    if not taken:
        raise ValueError(
            f"{config.init_from} has no weight that fits into one of this model: start from a tokenizer of its family."
        )
    with torch.no_grad():
        for name in taken:
            _take(own[name], found[name])
    return model


def _with_decoder(config: ModelConfig, training: DecoderTrainingConfig) -> VisualTokenizer:
    """Load a tokenizer with one extra decoder: the one to train, from its weights in the folder if they are of its kind.

    Raises ValueError when the tokenizer is not the one of the config, has no plain decoder, or its folder has a decoder of
    that name that cannot be loaded.
    """
    assert config.init_from is not None, "the config says where the tokenizer is"
    model, found = load_tokenizer(config.init_from)
    for name in ("architecture", "quantizer", "preprocessing"):
        if getattr(found, name) != getattr(config, name):
            raise ValueError(
                f"model.{name} is not that of {config.init_from}, whose tokenizer stays as it is: copy it from its config.json."
            )
    if not model.has_decoder:
        raise ValueError(
            f"{config.init_from} has no decoder, because its checkpoint has none, so there is nothing that an extra one could "
            "add to: import the checkpoint with the decoder."
        )
    model.decoders[training.name] = _starting_decoder(config.init_from, model, training)
    return model


def check_same_tokenizer(digest: str, model: VisualTokenizer, config: ModelConfig) -> None:
    """Raise ValueError unless the weights of a checkpoint fit the tokenizer of `init_from`, whose digest is given.

    A run of an extra decoder exports the files of that folder: a decoder of other codes could not be loaded from there.
    """
    if decoder_digest(model) != digest:
        raise ValueError(
            f"model.init_from is {config.init_from}, but its tokenizer or its plain decoder is another than that of the "
            "checkpoint: give the one that the run started from, or use another run.out."
        )


def _starting_decoder(folder: Path, model: VisualTokenizer, training: DecoderTrainingConfig) -> ExtraDecoder:
    decoder = training.network.build(model.architecture, model.quantizer.dim)
    decoder.start_from(model.plain)
    decoder.scale, decoder.steps = UNKNOWN, training.recipe.steps
    if training.name not in decoder_names(folder):
        return decoder
    before = load_decoder(folder, training.name, model)
    own, found = decoder.state_dict(), before.state_dict()
    if own.keys() == found.keys() and all(_fits_into(found[name], own[name]) for name in own):
        decoder.scale = before.scale
        with torch.no_grad():
            for name in own:
                _take(own[name], found[name])
    return decoder


def _fits_into(small: Tensor, large: Tensor) -> bool:
    return small.ndim == large.ndim and all(a <= b for a, b in zip(small.shape, large.shape, strict=True))


def _take(target: Tensor, source: Tensor) -> None:
    if target.ndim > 1:
        target[: source.shape[0], source.shape[1] :] = 0
    target[tuple(slice(extent) for extent in source.shape)] = source
