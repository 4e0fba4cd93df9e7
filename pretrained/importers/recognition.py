"""Choose the layout of a checkpoint: the one that its tensors show, or one of the family that was given."""

from pathlib import Path

from ...tokenizer.wording import list_first, shortened
from .checkpoint import Checkpoint
from .fit import SHOWN, problem
from .layout import Layout, layouts
from .nearest import MIN_FIT, nearest
from .table import IMPORTERS


def of_family(path: Path, family: str, checkpoint: Checkpoint) -> Layout:
    """Return the layout of a family that a checkpoint has; raise ValueError if it has none of them."""
    where = checkpoint.where(path)
    candidates = layouts({family: IMPORTERS[family]}, checkpoint)
    candidates.sort(key=lambda layout: not layout.is_recognised())
    for layout in candidates:
        if problem(layout, checkpoint.settings) is None:
            return layout
    if not candidates:
        raise ValueError(f"{where} cannot be imported as {family}: it has none of the prefixes of its tensors.")
    own = nearest(candidates, checkpoint.settings)
    near = nearest(layouts(IMPORTERS, checkpoint), checkpoint.settings)
    if near.layout.family == family or near.fits <= max(MIN_FIT, own.fits):
        raise ValueError(f"{where} cannot be imported as {family}: {own.problem}.")
    if near.problem is None:
        raise ValueError(
            f"{where} is not a checkpoint of {family} ({own.problem}): its tensors are those of {near.layout.family}."
        )
    raise ValueError(
        f"{where} is not a checkpoint of {family}: the nearest family is {near.layout.family}, but {near.problem}."
    )


def recognised(path: Path, checkpoint: Checkpoint) -> Layout:
    """Return the only layout that a checkpoint shows; raise ValueError with what is nearest or in doubt."""
    where = checkpoint.where(path)
    candidates = layouts(IMPORTERS, checkpoint)
    found = [layout for layout in candidates if layout.is_recognised()]
    if len(found) == 1:
        return found[0]
    if found:
        near = nearest(found, checkpoint.settings)
        if near.problem is not None:
            raise ValueError(
                f"{where} may be of the families {names_of(found)}, but cannot be imported as {near.layout.family}: "
                f"{near.problem}."
            )
        raise ValueError(f"{where} may be of the families {names_of(found)}: name one before the checkpoint.")
    fitting = [layout for layout in candidates if problem(layout, checkpoint.settings) is None]
    if fitting:
        raise ValueError(
            f"{where} has tensors that fit {names_of(fitting)}, but does not show which it is: name the family before the "
            "checkpoint."
        )
    near = nearest(candidates, checkpoint.settings)
    if near.fits > MIN_FIT:
        raise ValueError(
            f"{where} is not a checkpoint of a known family: the nearest is {near.layout.family}, but {near.problem}."
        )
    groups = sorted({shortened(".".join(name.split(".")[:2])) for name in checkpoint.tensors})
    raise ValueError(
        f"{where} is not recognised as one of {', '.join(IMPORTERS)} by its tensors ({list_first(groups, SHOWN)}): if you "
        "know the family, name it before the checkpoint."
    )


def names_of(found: list[Layout]) -> str:
    """Return the families of layouts, for a sentence."""
    return " and ".join(dict.fromkeys(layout.family for layout in found))
