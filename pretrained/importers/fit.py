"""Find whether a checkpoint fits a layout, by the names and shapes of its tensors alone."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ...tokenizer.config import ConfigError
from ...tokenizer.folder.config_json import TokenizerConfig
from ...tokenizer.folder.skeleton import build_skeleton
from ...tokenizer.wording import list_first, shortened
from .base import MissingSettingError, TensorError
from .first_difference import layer_that_differs, with_source
from .layout import Layout, shapes_of

SHOWN = 4
SOURCES = 3
"""Max tensors that one weight is made from, as a rule."""


@contextmanager
def _names_of_file(layout: Layout) -> Iterator[None]:
    """Let errors name tensors as the file does."""
    try:
        yield
    except TensorError as error:
        raise ValueError(error.sentence(layout.in_file)) from None


def config_of(layout: Layout, settings: Mapping[str, Any]) -> TokenizerConfig:
    """Return the config that a layout shows; raise ValueError with the tensor that differs."""
    try:
        return _config(layout, settings)
    except MissingSettingError as error:
        # With any value, so that a tensor that differs is told first.
        converted(layout, _config(layout, {**settings, **error.example}), on_meta(layout))
        raise


def _config(layout: Layout, settings: Mapping[str, Any]) -> TokenizerConfig:
    shapes = layout.shapes
    with _names_of_file(layout):
        try:
            return layout.importer.config(shapes, settings)
        except ConfigError as error:
            raise with_source(str(error), shapes) from None


def converted(layout: Layout, config: TokenizerConfig, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of the tokenizer, made from the tensors of a layout, in the types that the tokenizer has them in.

    Tensors on meta do for a check of names and shapes. Raises ValueError, with the end of a sentence, when a tensor is missing,
    left over or of another shape, or has no average where the others do.
    """
    with _names_of_file(layout):
        try:
            expected = expected_weights(config)
            weights = _fitting(layout, config, tensors, expected)
        except ValueError as error:
            # Sizes come from one tensor of a layer, so where another disagrees, the error is of what follows from them.
            raise layer_that_differs(shapes_of(tensors)) or error from None
    return {name: weights[name].to(tensor.dtype) for name, tensor in expected.items()}


def _fitting(
    layout: Layout, config: TokenizerConfig, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    unused = dict(tensors)
    taken: list[str] = []

    def take(name: str) -> Tensor:
        if name not in tensors:
            raise TensorError("it has no tensor {}", name)
        assert name in unused, f"{name} is used twice"
        taken.append(name)
        return unused.pop(name)

    try:
        weights = layout.importer.weights(config, expected, take)
    except (RuntimeError, IndexError):  # of a rearrangement
        last = taken[-SOURCES:]
        names = [f"{shortened(layout.in_file(name))} {tuple(tensors[name].shape)}" for name in last]
        raise ValueError(f"one of its tensors {', '.join(names)} has a shape that does not fit the others") from None
    for name, tensor in expected.items():
        if weights[name].shape != tensor.shape:
            raise ValueError(
                f"{_sources(layout, config, tensors, name)} the shape {tuple(weights[name].shape)} to {name}, which must "
                f"have {tuple(tensor.shape)}"
            )
    if unused:
        names = sorted(shortened(layout.in_file(name)) for name in unused)
        is_one = len(names) == 1
        raise ValueError(
            f"its tensor{'s' * (not is_one)} {list_first(names, SHOWN)} {'has' if is_one else 'have'} no place in the tokenizer"
        )
    if average := layout.missing_average():
        raise ValueError(f"it has no tensor {shortened(average)}, though other weights have such an average")
    return weights


def expected_weights(config: TokenizerConfig) -> dict[str, Tensor]:
    """Return the weights of a tokenizer, on meta."""
    try:
        return build_skeleton(config).state_dict()
    except (RuntimeError, OverflowError):  # a tensor of more values than an int64 counts
        raise ValueError("it asks for a network that no memory can hold") from None


def _sources(layout: Layout, config: TokenizerConfig, tensors: Mapping[str, Tensor], name: str) -> str:
    """Name the tensors of the checkpoint that one weight is made from, as the beginning of a sentence."""
    taken = []

    def take(source: str) -> Tensor:
        taken.append(source)
        return tensors[source]

    layout.importer.weights(config, [name], take)
    names = list_first([shortened(layout.in_file(source)) for source in taken], SHOWN)
    return f"its {'tensor' if len(taken) == 1 else 'tensors'} {names} give{'s' * (len(taken) == 1)}"


def on_meta(layout: Layout) -> dict[str, Tensor]:
    """Return the tensors of a layout without their values."""
    return {name: torch.empty_like(tensor, device="meta") for name, tensor in layout.tensors.items()}


def problem(layout: Layout, settings: Mapping[str, Any]) -> str | None:
    """Return why a layout cannot be imported, or None if all its names and shapes fit."""
    try:
        config = config_of(layout, settings)
        converted(layout, config, on_meta(layout))
    except ValueError as error:
        return str(error).rstrip(".")
    return None
