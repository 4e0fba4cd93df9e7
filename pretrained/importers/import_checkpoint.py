"""Import a public checkpoint of any family as a tokenizer folder."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ...tokenizer.files import aside_folder
from ...tokenizer.folder.config_json import Origin, TokenizerConfig
from ...tokenizer.folder.fingerprint import fingerprint
from ...tokenizer.folder.save_load import save_tokenizer
from ...tokenizer.folder.skeleton import build_skeleton
from ...tokenizer.folder.weight_file import is_finite
from ...tokenizer.model import VisualTokenizer
from ...tokenizer.numerics.float32 import own_numerics
from ...tokenizer.wording import unknown_choice
from ..public import Public
from .card import Facts, card, conversions, digests
from .checkpoint import Checkpoint, read_checkpoint
from .exported import FACTS_FILE, Exported, read_exported
from .fit import config_of, converted, on_meta
from .layout import Layout, average_doubt, average_note, layouts
from .recognition import names_of, of_family, recognised
from .settings import last_of_each, with_settings
from .table import IMPORTERS

EXPORTED = f"vistok exported it: its settings are those of the `{FACTS_FILE}` beside it."
"""The note on a card in place of the family's."""


class Imported(NamedTuple):
    """What was imported."""

    family: str
    fingerprint: str
    has_decoder: bool
    doubt: str
    """What users should check: another family in sight, averages that are missing, a setting that was assumed; else empty."""


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
    _check_new(out)
    if family is not None and family not in IMPORTERS:
        raise ValueError(unknown_choice("family", f"FAMILY {family!r}", family, list(IMPORTERS)))
    wrappers = {key: None for importers in IMPORTERS.values() for importer in importers for key in importer.wrappers}
    checkpoint = read_checkpoint(path, trust_pickle, list(wrappers))
    layout = recognised(path, checkpoint) if family is None else of_family(path, family, checkpoint)
    exported = read_exported(path, layout.importer, checkpoint)
    settings = last_of_each(settings)
    plain = _config(path, layout, checkpoint, public, exported.config)
    config = with_settings(plain, settings)
    where = checkpoint.where(path)
    with ThreadPoolExecutor(1) as aside:
        digested = aside.submit(digests, checkpoint.files)
        try:
            converted(layout, config, on_meta(layout))  # before values are read
            model = _model(config, converted(layout, config, layout.tensors))
        except ValueError as error:
            if setting := _unfit_setting(layout, plain, settings):
                raise ValueError(f"--set is {setting!r}, which does not fit {where}: {error}.") from None
            raise ValueError(f"{where} cannot be imported as {layout.family}: {str(error).rstrip('.')}.") from None
        found = fingerprint(model, config)
        checkpoint.release()
        misfit = _misfit(family, checkpoint) if family is not None and public is None else ""
        facts = Facts(
            found_at=checkpoint.found_at,
            trusted=trust_pickle,
            settings=settings,
            digests=digested.result(),
            public=public,
            conversions=conversions(layout.tensors, model),
            average=average_note(layout),
            doubt=" ".join(filter(None, [misfit, *_doubts(layout, checkpoint, exported, config, settings)])),
        )
    importer = layout.importer if exported.config is None else layout.importer._replace(notes=(EXPORTED,))
    _write(out, model, config, card(out, importer, config, facts), path, layout, checkpoint)
    return Imported(layout.family, found, not config.architecture.encoder_only, facts.doubt)


def _doubts(
    layout: Layout, checkpoint: Checkpoint, exported: Exported, config: TokenizerConfig, settings: Sequence[str]
) -> list[str]:
    """Return a sentence, or "", on each thing that the checkpoint leaves open."""
    guess, key = layout.importer.guess, layout.importer.guessed
    given = {setting.partition("=")[0] for setting in settings}
    guessed = "" if guess is None or key in given or exported.config else guess(config)
    return [average_doubt(layout, checkpoint.found_at), exported.doubt, guessed]


def _misfit(family: str, checkpoint: Checkpoint) -> str:
    found = [layout for layout in layouts(IMPORTERS, checkpoint) if layout.is_recognised()]
    if not found or family in (layout.family for layout in found):
        return ""
    return f"The tensors look like those of {names_of(found)}, but were imported as {family}, as the call said."


def _unfit_setting(layout: Layout, config: TokenizerConfig, settings: Sequence[str]) -> str | None:
    """Return the first setting with which the tensors of a layout do not fit, if they do without."""
    for count in range(len(settings) + 1):
        try:
            converted(layout, with_settings(config, settings[:count]), on_meta(layout))
        except ValueError:
            return settings[count - 1] if count else None
    return None


def _config(
    path: Path, layout: Layout, checkpoint: Checkpoint, public: Public | None, exported: TokenizerConfig | None
) -> TokenizerConfig:
    importer = layout.importer
    try:
        config = exported or config_of(layout, checkpoint.settings)
    except ValueError as error:
        where = checkpoint.where(path)
        raise ValueError(f"{where} cannot be imported as {layout.family}: {str(error).rstrip('.')}.") from None
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
    out: Path,
    model: VisualTokenizer,
    config: TokenizerConfig,
    text: str,
    path: Path,
    layout: Layout,
    source: Checkpoint,
) -> None:
    def check(name: str, tensor: Tensor) -> None:
        source.release()  # what the tensor before has used
        if not is_finite(tensor):
            raise ValueError(
                f"{path} has values in {_not_finite(layout, source) or name} that are NaN or infinite: download it again, or "
                "import another checkpoint."
            )

    out.parent.mkdir(parents=True, exist_ok=True)
    with aside_folder(out) as aside:
        _check_new(out)
        save_tokenizer(
            aside, model, config.architecture, config.preprocessing, text, origin=config.origin, before_each=check
        )
        aside.rename(out)


def _not_finite(layout: Layout, checkpoint: Checkpoint) -> str | None:
    """Return the name in the file of the first tensor of a layout that is not finite."""
    own = {id(tensor) for tensor in layout.tensors.values()}
    return next((name for name, value in checkpoint.tensors.items() if id(value) in own and not is_finite(value)), None)


def _check_new(out: Path) -> None:
    if out.exists():
        raise ValueError(f"--out is {out}, which exists already: give a new folder.")
