"""The model that a run starts from."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..tokenizer.decoders.base import ExtraDecoder
from ..tokenizer.folder.config_json import CONFIG_FILE
from ..tokenizer.folder.decoder_digest import decoder_digest
from ..tokenizer.folder.decoders import DECODERS_FOLDER, decoder_names, load_decoder
from ..tokenizer.folder.save_load import load_tokenizer
from ..tokenizer.model import VisualTokenizer, build_tokenizer
from .config import ModelConfig
from .generative.recipes import DecoderTrainingConfig
from .generative.scale import UNKNOWN


def starting_model(config: ModelConfig, decoder: DecoderTrainingConfig | None = None) -> VisualTokenizer:
    """Build the model of a run: a tokenizer to train, or that of `init_from` with an extra decoder to train.

    The decoder starts from the one of its name in that folder, if there is one. Raises ValueError when `init_from` is not
    what can be started from: see below, and `check_same_network`.
    """
    if decoder is None:
        return _starting_tokenizer(config)
    model = with_decoder(config, decoder)
    assert config.init_from is not None
    if decoder.name in decoder_names(config.init_from):
        own, before = model.extra_decoder(decoder.name), load_decoder(config.init_from, decoder.name, model)
        place = config.init_from / DECODERS_FOLDER / decoder.name
        check_same_network(before, own, str(config.init_from), place, ("decoder.name", "decoder.network"))
        own.scale = before.scale
        weights = own.state_dict()
        _take(weights, before.state_dict(), weights)
    return model


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
    _take(own, found, taken)
    return model


def with_decoder(config: ModelConfig, training: DecoderTrainingConfig) -> VisualTokenizer:
    """Load the tokenizer of `init_from` with one extra decoder: the one to train, fresh but for what the plain one gives it.

    Raises ValueError when the tokenizer is not the one of the config, or has no plain decoder.
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
    decoder = training.network.build(model.architecture, model.quantizer.dim)
    decoder.start_from(model.plain)
    decoder.scale, decoder.steps = UNKNOWN, training.recipe.steps
    model.decoders[training.name] = decoder
    return model


def check_same_network(
    before: ExtraDecoder, decoder: ExtraDecoder, owner: str, place: Path, options: tuple[str, str]
) -> None:
    """Raise ValueError unless the weights of a stored decoder fit into the one to train, which starts from them.

    They may be those of a narrower network. `owner` has the decoder, as users call it, in the folder `place`; `options` are
    those of its name and of its network.
    """
    own, found = decoder.state_dict(), before.state_dict()
    is_same_kind = before.config.name == decoder.config.name
    if is_same_kind and own.keys() == found.keys() and all(_fits_into(found[name], own[name]) for name in own):
        return
    name, network = options
    if is_same_kind:
        asked, stored = decoder.config.model_dump(), before.config.model_dump()
        differs = ", ".join(f"{key} is {stored[key]}, not {asked[key]}" for key in asked if stored[key] != asked[key])
        advice = f"use another {name}, or as {network} the one in {place / CONFIG_FILE}"
    else:
        differs = f"it is {before.config.name}, not {decoder.config.name}"
        advice = f"use another {name}"
    raise ValueError(
        f"{owner} already has a decoder {place.name}, of another network than the one to train ({differs}): {advice}."
    )


def check_same_tokenizer(digest: str, model: VisualTokenizer, config: ModelConfig) -> None:
    """Raise ValueError unless the weights of a checkpoint fit the tokenizer of `init_from`, whose digest is given.

    A run of an extra decoder exports the files of that folder: a decoder of other codes could not be loaded from there.
    """
    if decoder_digest(model) != digest:
        raise ValueError(
            f"model.init_from is {config.init_from}, but its tokenizer or its plain decoder is another than that of the "
            "checkpoint: give the one that the run started from, or use another run.out."
        )


def _fits_into(small: Tensor, large: Tensor) -> bool:
    return small.ndim == large.ndim and all(a <= b for a, b in zip(small.shape, large.shape, strict=True))


@torch.no_grad()
def _take(targets: Mapping[str, Tensor], sources: Mapping[str, Tensor], names: Iterable[str]) -> None:
    for name in names:
        target, source = targets[name], sources[name]
        if target.ndim > 1:
            target[: source.shape[0], source.shape[1] :] = 0
        target[tuple(slice(extent) for extent in source.shape)] = source
