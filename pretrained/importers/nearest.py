"""Find the family that a checkpoint differs least from, for the sentence that says why it cannot be imported."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from ...tokenizer.folder.config_json import TokenizerConfig
from .base import Shapes
from .fit import expected_weights, on_meta, problem
from .layout import Layout

MIN_FIT = 0.3
"""Fraction of names that fit below which a checkpoint is none of a family."""

INVENTED = (32, 32)
"""Shape of a tensor that is missing: a table, or the channels of a layer that is normalised in groups."""


class Nearest(NamedTuple):
    """The layout that fits best."""

    layout: Layout
    problem: str | None
    """The first difference, as the end of a sentence, or None if all names and shapes fit."""
    fits: float
    """The fraction of names that fit."""


def nearest(candidates: Sequence[Layout], settings: Mapping[str, Any]) -> Nearest:
    """Return the candidate of which most names fit, the first of equals; those that are recognised come first."""
    all_fits = [Nearest(layout, problem(layout, settings), _fits(layout, settings)) for layout in candidates]
    return max(all_fits, key=lambda each: (each.problem is None, each.layout.is_recognised(), each.fits))


class _Asked(Shapes):
    """Shapes that remember the names they were asked for, and invent those of tensors that are missing."""

    def __init__(self, shapes: Shapes):
        super().__init__(shapes)
        self.names: set[str] = set()

    def __contains__(self, name: object) -> bool:
        self.names.add(str(name))
        return super().__contains__(name)

    def __getitem__(self, name: str) -> tuple[int, ...]:
        self.names.add(name)
        return super().__getitem__(name)

    def __missing__(self, _: str) -> tuple[int, ...]:
        return INVENTED


def _fits(layout: Layout, settings: Mapping[str, Any]) -> float:
    """Return the fraction of names that fit: of all in the checkpoint and the tokenizer, or those that its config needs."""
    shapes = _Asked(layout.shapes)
    try:
        layout.importer.recognises(shapes)
        config = layout.importer.config(shapes, settings)
        return _fitting_weights(layout, config)
    except ValueError:
        present = set(map(_without_numbers, layout.tensors))
        asked = set(map(_without_numbers, shapes.names))
        return len(asked & present) / max(1, len(asked))


def _fitting_weights(layout: Layout, config: TokenizerConfig) -> float:
    """Return the fraction that fits of the weights, each made by itself, and of the tensors that none of them takes."""
    expected, tensors = expected_weights(config), on_meta(layout)
    taken: set[str] = set()

    def take(name: str) -> Tensor:
        taken.add(name)
        return tensors[name]

    fitting = 0
    for name, tensor in expected.items():
        try:
            fitting += layout.importer.weights(config, [name], take)[name].shape == tensor.shape
        except (KeyError, RuntimeError, IndexError, ValueError):
            continue
    return fitting / (len(expected) + len(tensors.keys() - taken))


def _without_numbers(name: str) -> str:
    return re.sub(r"\d+", "#", name)
