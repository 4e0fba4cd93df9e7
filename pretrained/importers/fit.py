"""Find the family whose layout a checkpoint has, by the names and shapes of its tensors alone."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...tokenizer.config import ConfigError
from ...tokenizer.folder.config_json import TokenizerConfig
from ...tokenizer.folder.skeleton import build_skeleton
from ...tokenizer.wording import list_first, shortened
from .base import Importer, Shapes
from .checkpoint import Checkpoint
from .first_difference import layer_that_differs, with_source

SHOWN = 4
SOURCES = 3
"""Max tensors that one weight is made from, as a rule."""
AVERAGED = "model_ema."
"""Comes before the names of averaged weights, which have lost their dots."""


class Layout(NamedTuple):
    """One reading of a checkpoint: an importer, and the tensors under the names that it knows."""

    family: str
    importer: Importer
    all_shapes: Shapes
    """Of all tensors, by which the importer recognises its checkpoints."""
    tensors: dict[str, Tensor]
    """Those that the tokenizer needs."""

    @property
    def shapes(self) -> Shapes:
        return _shapes(self.tensors)

    def is_recognised(self) -> bool:
        return self.importer.recognises(self.all_shapes)


def layouts(families: Mapping[str, tuple[Importer, ...]], checkpoint: Checkpoint) -> list[Layout]:
    """Return every reading of a checkpoint that its names allow: each importer's, with each of its prefixes."""
    return [
        Layout(family, importer, _shapes(tensors), _seen(importer, tensors))
        for family, importers in families.items()
        for importer in importers
        for prefix in (*[""] * (not importer.is_part), *importer.prefixes)
        if (tensors := _within(checkpoint.tensors, prefix))
    ]


def _shapes(tensors: Mapping[str, Tensor]) -> Shapes:
    return Shapes({name: tuple(tensor.shape) for name, tensor in tensors.items()})


def _within(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _seen(importer: Importer, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that an importer needs: averaged ones in place of live ones, where the project uses them."""
    live = {name: tensor for name, tensor in tensors.items() if not re.fullmatch(importer.ignored, name)}
    if not importer.uses_average:
        return live
    averaged = {name: f"{AVERAGED}{name.replace('.', '')}" for name in live if not name.startswith(AVERAGED)}
    # Frozen weights have no average.
    seen = {name: live.get(average, live[name]) for name, average in averaged.items()}
    return seen | {name: live[name] for name in live if name.startswith(AVERAGED) and name not in averaged.values()}


def config_of(layout: Layout, settings: Mapping[str, Any]) -> TokenizerConfig:
    """Return the config that a layout shows; raise ValueError with the tensor that differs."""
    shapes = layout.shapes
    try:
        return layout.importer.config(shapes, settings)
    except ConfigError as error:
        raise ValueError(with_source(str(error), shapes)) from None


def converted(layout: Layout, config: TokenizerConfig, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of the tokenizer, made from the tensors of a layout, in the types that the tokenizer has them in.

    Tensors on meta do for a check of names and shapes. Raises ValueError, with the end of a sentence, when a tensor is missing,
    left over or of another shape.
    """
    try:
        expected = expected_weights(config)
        weights = _fitting(layout, config, tensors, expected)
    except ValueError as error:
        # Sizes come from one tensor of a layer, so where another disagrees, the error is of what follows from them.
        raise ValueError(layer_that_differs(_shapes(tensors)) or str(error)) from None
    return {name: weights[name].to(tensor.dtype) for name, tensor in expected.items()}


def _fitting(
    layout: Layout, config: TokenizerConfig, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    unused = dict(tensors)
    taken: list[str] = []

    def take(name: str) -> Tensor:
        if name not in tensors:
            raise ValueError(f"it has no tensor {shortened(name)}")
        assert name in unused, f"{name} is used twice"
        taken.append(name)
        return unused.pop(name)

    try:
        weights = layout.importer.weights(config, expected, take)
    except (RuntimeError, IndexError):  # of a rearrangement
        names = [f"{shortened(name)} {tuple(tensors[name].shape)}" for name in taken[-SOURCES:]]
        raise ValueError(f"one of its tensors {', '.join(names)} has a shape that does not fit the others") from None
    for name, tensor in expected.items():
        if weights[name].shape != tensor.shape:
            raise ValueError(
                f"{_sources(layout, config, tensors, name)} the shape {tuple(weights[name].shape)} to {name}, which must "
                f"have {tuple(tensor.shape)}"
            )
    if unused:
        names = [shortened(name) for name in sorted(unused)]
        raise ValueError(f"its tensors {list_first(names, SHOWN)} have no place in the tokenizer")
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
    names = list_first([*map(shortened, taken)], SHOWN)
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
