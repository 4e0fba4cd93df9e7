"""The readings of a checkpoint: which importer's layout it may have, and the tensors that this importer needs."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from ...tokenizer.wording import shortened
from .base import Importer, Shapes
from .checkpoint import Checkpoint

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
    prefix: str = ""
    """What comes before all their names in the file."""
    averages: Mapping[str, str] = {}
    """Names of the averages that stand in place of live weights, by the names of these."""
    without_average: tuple[str, ...] = ()
    """Live weights that have no average beside the averages of the others."""

    @property
    def shapes(self) -> Shapes:
        return shapes_of(self.tensors)

    def is_recognised(self) -> bool:
        return self.importer.recognises(self.all_shapes)

    def in_file(self, name: str) -> str:
        """Return the name in the file of one of `tensors`."""
        return f"{self.prefix}{self.averages.get(name, name)}"

    def missing_average(self) -> str | None:
        """Return the name of the first average that should be there and is not."""
        frozen = self.importer.frozen
        return next((average_of(name) for name in self.without_average if not re.fullmatch(frozen, name)), None)


def layouts(families: Mapping[str, tuple[Importer, ...]], checkpoint: Checkpoint) -> list[Layout]:
    """Return every reading of a checkpoint that its names allow: each importer's, with each of its prefixes."""
    return [
        _layout(family, importer, prefix, tensors)
        for family, importers in families.items()
        for importer in importers
        for prefix in (*[""] * (not importer.is_part), *importer.prefixes)
        if (tensors := _within(checkpoint.tensors, prefix))
    ]


def _layout(family: str, importer: Importer, prefix: str, tensors: dict[str, Tensor]) -> Layout:
    """Return the reading in which averaged weights stand in place of live ones, where the project uses them."""
    layout = Layout(family, importer, shapes_of(tensors), {}, prefix)
    needed = {name: tensor for name, tensor in tensors.items() if not re.fullmatch(importer.ignored, name)}
    if not importer.uses_average or not _has_averages(layout.all_shapes):
        return layout._replace(tensors=needed)
    live = [name for name in needed if not name.startswith(AVERAGED)]
    averages = {name: average_of(name) for name in live if average_of(name) in needed}
    seen = {name: needed[averages.get(name, name)] for name in live}
    others = needed.keys() - seen.keys() - set(averages.values())
    return layout._replace(
        tensors=seen | {name: needed[name] for name in needed if name in others},
        averages=averages,
        without_average=tuple(name for name in live if name not in averages),
    )


def average_of(name: str) -> str:
    """Return the name of the average of a weight."""
    return f"{AVERAGED}{name.replace('.', '')}"


def _has_averages(shapes: Shapes) -> bool:
    return any(name.startswith(AVERAGED) for name in shapes)


def shapes_of(tensors: Mapping[str, Tensor]) -> Shapes:
    """Return the shapes of tensors by their names."""
    return Shapes({name: tuple(tensor.shape) for name, tensor in tensors.items()})


def _within(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def average_note(layout: Layout) -> str:
    """Return a sentence for the card on the averages that were taken, or ""."""
    if not layout.averages:
        return ""
    frozen = ", ".join(f"`{shortened(name)}`" for name in layout.without_average)
    but = f", but for {frozen}, which the original does not average" if frozen else ""
    return f"The weights are the moving averages (`{AVERAGED}*`){but}."


def average_doubt(layout: Layout, found_at: str) -> str:
    """Return a sentence where the project evaluates averages but the file has none, else ""."""
    if not layout.importer.uses_average or _has_averages(layout.all_shapes) or "ema" in found_at.split("."):
        return ""
    return (
        f"The live weights were imported: the checkpoint has no moving averages ({AVERAGED}*), which {layout.importer.title} "
        "evaluates."
    )
