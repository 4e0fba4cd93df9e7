"""Import a public checkpoint of any family as a tokenizer folder."""

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ...tokenizer.files import aside_of
from ...tokenizer.folder.config_json import Origin, TokenizerConfig
from ...tokenizer.folder.fingerprint import fingerprint
from ...tokenizer.folder.save_load import save_tokenizer
from ...tokenizer.folder.skeleton import build_skeleton
from ...tokenizer.folder.weight_file import check_finite
from ...tokenizer.model import VisualTokenizer
from ...tokenizer.numerics.float32 import own_numerics
from ...tokenizer.wording import list_first, unknown_choice
from ..public import Public
from .card import Facts, card, digests
from .checkpoint import Checkpoint, read_checkpoint
from .fit import SHOWN, Layout, converted, layouts, on_meta, problem
from .nearest import MIN_FIT, nearest
from .settings import with_settings
from .table import IMPORTERS


class Imported(NamedTuple):
    """What was imported."""

    family: str
    fingerprint: str
    has_decoder: bool
    doubt: str
    """A sentence where the tensors show another family than the one that was given, else empty."""


@own_numerics(torch.device("cpu"))  # the caller's default dtype would round weights
def import_checkpoint(
    path: Path,
    out: Path,
    family: str | None = None,
    settings: Sequence[str] = (),
    trust_pickle: bool = False,
    public: Public | None = None,
) -> Imported:
    """Write a checkpoint as the tokenizer folder `out`, and return what it is.

    Without a family it is recognised by its tensors. `settings` such as `preprocessing.size=512` replace those of the family.
    `public` is what is known of a checkpoint that was downloaded by its name.

    Raises ValueError when `out` exists, the family is unknown or not recognised, the checkpoint is damaged, or a tensor is
    missing, unused or of the wrong shape. With `trust_pickle` code in the checkpoint is run.
    """
    if out.exists():
        raise ValueError(f"--out is {out}, which exists already: give a new folder.")
    if family is not None and family not in IMPORTERS:
        raise ValueError(unknown_choice("family", f"FAMILY {family!r}", family, list(IMPORTERS)))
    checkpoint = read_checkpoint(path, trust_pickle)
    layout = _recognised(path, checkpoint) if family is None else _of_family(path, family, checkpoint)
    config = with_settings(_config(path, layout, checkpoint, public), settings)
    with ThreadPoolExecutor(1) as aside:
        digested = aside.submit(digests, checkpoint.files)
        try:
            converted(layout, config, on_meta(layout))  # before values are read
            model = _model(config, converted(layout, config, layout.tensors))
        except ValueError as error:
            raise ValueError(f"{path} cannot be imported as {layout.family}: {str(error).rstrip('.')}.") from None
        found = fingerprint(model, config)
        checkpoint.release()
        facts = Facts(
            found_at=checkpoint.found_at,
            trusted=trust_pickle,
            settings=settings,
            digests=digested.result(),
            public=public,
            doubt=_doubt(family, checkpoint) if family is not None and public is None else "",
        )
    _write(out, model, config, card(out, layout.importer, config, facts), path, checkpoint)
    return Imported(layout.family, found, not config.architecture.encoder_only, facts.doubt)


def _doubt(family: str, checkpoint: Checkpoint) -> str:
    found = [layout for layout in layouts(IMPORTERS, checkpoint) if layout.is_recognised()]
    if not found or family in (layout.family for layout in found):
        return ""
    return f"The tensors look like those of {_names(found)}, but were imported as {family}, as the call said."


def _config(path: Path, layout: Layout, checkpoint: Checkpoint, public: Public | None) -> TokenizerConfig:
    importer = layout.importer
    try:
        config = importer.config(layout.shapes, checkpoint.settings)
    except ValueError as error:
        raise ValueError(f"{path} cannot be imported as {layout.family}: {str(error).rstrip('.')}.") from None
    origin = Origin(family=layout.family, source=importer.source, licence=importer.licence, checkpoint=path.name)
    if public is not None:
        entry = public.entry
        origin = origin.model_copy(
            update={
                "licence": entry.licence,
                "repository": f"{entry.repository}@{public.commit}",
                "published": dict(entry.published),
            }
        )
    return config.model_copy(update={"origin": config.origin or origin})


def _model(config: TokenizerConfig, weights: dict[str, Tensor]) -> VisualTokenizer:
    """Return a model that has the weights themselves, not copies. It cannot compute."""
    model = build_skeleton(config)
    model.quantizer = config.quantizer.build()  # which prepares itself for inference
    model.load_state_dict(weights, assign=True)
    return model.eval().requires_grad_(False)


def _write(
    out: Path, model: VisualTokenizer, config: TokenizerConfig, text: str, path: Path, source: Checkpoint
) -> None:
    def check(name: str, tensor: Tensor) -> None:
        source.release()  # what the tensor before has used
        check_finite(path, {name: tensor})

    aside = aside_of(out)
    shutil.rmtree(aside, ignore_errors=True)
    try:
        save_tokenizer(
            aside, model, config.architecture, config.preprocessing, text, origin=config.origin, before_each=check
        )
        aside.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _of_family(path: Path, family: str, checkpoint: Checkpoint) -> Layout:
    candidates = layouts({family: IMPORTERS[family]}, checkpoint)
    candidates.sort(key=lambda layout: not layout.is_recognised())
    for layout in candidates:
        if problem(layout, checkpoint.settings) is None:
            return layout
    if not candidates:
        raise ValueError(f"{path} cannot be imported as {family}: it has none of the prefixes of its tensors.")
    own = nearest(candidates, checkpoint.settings)
    near = nearest(layouts(IMPORTERS, checkpoint), checkpoint.settings)
    if near.layout.family == family or near.fits <= max(MIN_FIT, own.fits):
        raise ValueError(f"{path} cannot be imported as {family}: {own.problem}.")
    if near.problem is None:
        raise ValueError(
            f"{path} is not a checkpoint of {family} ({own.problem}): its tensors are those of {near.layout.family}."
        )
    raise ValueError(
        f"{path} is not a checkpoint of {family}: the nearest family is {near.layout.family}, but {near.problem}."
    )


def _recognised(path: Path, checkpoint: Checkpoint) -> Layout:
    candidates = layouts(IMPORTERS, checkpoint)
    found = [layout for layout in candidates if layout.is_recognised()]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"{path} may be of the families {_names(found)}: name one before the checkpoint.")
    fitting = [layout for layout in candidates if problem(layout, checkpoint.settings) is None]
    if fitting:
        raise ValueError(
            f"{path} has tensors that fit {_names(fitting)}, but does not show which it is: name the family before the "
            "checkpoint."
        )
    near = nearest(candidates, checkpoint.settings)
    if near.fits > MIN_FIT:
        raise ValueError(
            f"{path} is not a checkpoint of a known family: the nearest is {near.layout.family}, but {near.problem}."
        )
    groups = sorted({".".join(name.split(".")[:2]) for name in checkpoint.tensors})
    raise ValueError(
        f"{path} is not recognised as one of {', '.join(IMPORTERS)} by its tensors ({list_first(groups, SHOWN)}): if you "
        "know the family, name it before the checkpoint."
    )


def _names(found: list[Layout]) -> str:
    return " and ".join(dict.fromkeys(layout.family for layout in found))
