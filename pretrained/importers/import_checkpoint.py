"""Import a public checkpoint of any family as a tokenizer folder."""

import hashlib
import shutil
from pathlib import Path

from ...tokenizer.files import aside_of
from ...tokenizer.folder.config_json import Origin, TokenizerConfig
from ...tokenizer.folder.fingerprint import fingerprint
from ...tokenizer.folder.save_load import check_finite, save_tokenizer
from ...tokenizer.model import build_tokenizer
from ...tokenizer.wording import list_first, unknown_choice
from .checkpoint import Checkpoint, read_checkpoint
from .fit import SHOWN, Layout, converted, layouts, problem
from .table import IMPORTERS


def import_checkpoint(path: Path, out: Path, family: str | None = None) -> tuple[str, str]:
    """Write a checkpoint as the tokenizer folder `out`, and return its family and fingerprint.

    Raises ValueError when `out` exists, the family is unknown or not recognised by the tensors, the checkpoint would run code,
    or a tensor is missing, unused or of the wrong shape.
    """
    if out.exists():
        raise ValueError(f"--out is {out}, which exists already: give a new folder.")
    if family is not None and family not in IMPORTERS:
        raise ValueError(unknown_choice("family", f"FAMILY {family!r}", family, list(IMPORTERS)))
    checkpoint = read_checkpoint(path)
    layout = _recognised(path, checkpoint) if family is None else _of_family(family, checkpoint)
    try:
        config = layout.importer.config(layout.shapes, checkpoint.settings)
        weights = converted(layout, config, layout.tensors)
    except ValueError as error:
        raise ValueError(f"{path} cannot be imported as {layout.family}: {str(error).rstrip('.')}.") from None
    model = build_tokenizer(config.architecture, config.quantizer)
    model.load_state_dict(weights)
    model.eval().requires_grad_(False)
    check_finite(path, model.state_dict())
    aside = aside_of(out)
    shutil.rmtree(aside, ignore_errors=True)
    origin = _origin(layout, path)
    card = _card(out, path, layout, config)
    save_tokenizer(aside, model, config.architecture, config.preprocessing, card, origin=origin)
    aside.rename(out)
    return layout.family, fingerprint(model, config)


def _origin(layout: Layout, path: Path) -> Origin:
    importer = layout.importer
    return Origin(family=layout.family, source=importer.source, licence=importer.licence, checkpoint=path.name)


def _of_family(family: str, checkpoint: Checkpoint) -> Layout:
    """Return the layout of a family that fits, or else the first, whose problem the caller will meet."""
    candidates = layouts({family: IMPORTERS[family]}, checkpoint)
    recognised = [layout for layout in candidates if layout.is_recognised()]
    fitting = (layout for layout in candidates if problem(layout, checkpoint.settings) is None)
    return next(iter(recognised), None) or next(fitting, candidates[0])


def _recognised(path: Path, checkpoint: Checkpoint) -> Layout:
    found = [layout for layout in layouts(IMPORTERS, checkpoint) if layout.is_recognised()]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"{path} may be of the families {' and '.join(layout.family for layout in found)}: name one before the checkpoint."
        )
    groups = sorted({".".join(name.split(".")[:2]) for name in checkpoint.tensors})
    raise ValueError(
        f"{path} is not recognised as one of {', '.join(IMPORTERS)} by its tensors ({list_first(groups, SHOWN)}): if you "
        "know the family, name it before the checkpoint."
    )


def _card(out: Path, path: Path, layout: Layout, config: TokenizerConfig) -> str:
    importer = layout.importer
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    notes = "".join(f"\n- {note}" for note in importer.notes)
    return f"""# {out.resolve().name}

A {importer.title} tokenizer: {config.quantizer.name} quantizer, {config.architecture.coverage}.

Imported by vistok from `{path.name}` (SHA-256 `{digest.hexdigest()}`), a checkpoint for the code at {importer.source}.
Licence of the original weights: {importer.licence}.
{notes}
"""
