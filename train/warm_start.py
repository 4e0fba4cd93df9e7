"""The model that a run starts from."""

import torch
from torch import Tensor

from ..tokenizer.folder.save_load import load_tokenizer
from ..tokenizer.model import VisualTokenizer, build_tokenizer
from .config import ModelConfig


def starting_model(config: ModelConfig) -> VisualTokenizer:
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


def _fits_into(small: Tensor, large: Tensor) -> bool:
    return small.ndim == large.ndim and all(a <= b for a, b in zip(small.shape, large.shape, strict=True))


def _take(target: Tensor, source: Tensor) -> None:
    if target.ndim > 1:
        target[: source.shape[0], source.shape[1] :] = 0
    target[tuple(slice(extent) for extent in source.shape)] = source
