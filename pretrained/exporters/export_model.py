"""Export a tokenizer in the format of another program: write the files, check them, describe them."""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ... import __version__
from ...tokenizer.errors import WorkFailedError
from ...tokenizer.files import aside_folder
from ...tokenizer.folder.decoders import decoder_names
from ...tokenizer.folder.fingerprint import fingerprint
from ...tokenizer.wording import unknown_choice
from ..find import find_tokenizer
from ..importers.card import digests
from ..importers.exported import FACTS_FILE
from ..load_found import load_from
from .agreement import Agreement, agreement
from .base import Exporter, Source, Written
from .card import card
from .check_photos import check_photos
from .table import EXPORTERS

CARD_FILE = "README.md"
MIN_AGREEMENT = 0.99
"""Fraction of tokens below which an export is refused."""


class ExportedModel(NamedTuple):
    """The result of an export."""

    folder: Path
    files: dict[str, str]
    agreement: Agreement
    photos: str
    """What it was checked on."""
    left_out: list[str] = []
    """Names of extra decoders, which no format holds."""


def export_model(model: str, form: str, out: Path, data: Sequence[str]) -> ExportedModel:
    """Write a tokenizer as a new folder `out` of another format, checked on the images of DATA or on synthetic photos.

    Raises ValueError when there is no such tokenizer or format, `out` exists, a package is missing or the format cannot hold
    the tokenizer; WorkFailedError when the tokens of the files differ from the tokenizer's. Then nothing is written.
    """
    exporter = _exporter(form)
    _check_new(out)
    folder = find_tokenizer(model)
    source, left_out = _source(model, folder), decoder_names(folder)
    photos = check_photos(data, source.config.preprocessing, source.model.downsample)
    out.parent.mkdir(parents=True, exist_ok=True)
    with aside_folder(out) as aside:
        _check_new(out)
        written = _written(exporter, source, aside)
        found = agreement(source.model, exporter.load(aside), photos.images, written.pixels)
        if found.fraction < MIN_AGREEMENT:
            raise WorkFailedError(
                f"The files in {exporter.title} format give {found.fraction:.2%} of the tokenizer's tokens on "
                f"{photos.description}, but must give {MIN_AGREEMENT:.0%}: nothing was written."
            )
        facts = source.facts | _description(form, written, found, photos.description)
        facts |= {
            "config": source.config.model_dump(mode="json"),
            "sha256": digests(sorted(path for path in aside.iterdir())),
        }
        if left_out:
            facts["left_out"] = left_out
        (aside / FACTS_FILE).write_text(json.dumps(facts, indent=2) + "\n")
        (aside / CARD_FILE).write_text(card(exporter, facts, photos.images[0].shape))
        aside.rename(out)
    return ExportedModel(out, written.files, found, photos.description, left_out)


def _check_new(out: Path) -> None:
    if out.exists():
        raise ValueError(f"--out is {out}, which exists already: give a new folder.")


def _exporter(form: str) -> Exporter:
    if form not in EXPORTERS:
        raise ValueError(unknown_choice("format", f"--format {form!r}", form, ["folder", *EXPORTERS]))
    exporter = EXPORTERS[form]
    missing = [package for package in exporter.packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ValueError(
            f"--format {form} needs the package {missing[0]}: pip install {exporter.install} in vistok's checkout."
        )
    return exporter


def _source(name: str, folder: Path) -> Source:
    model, config = load_from(name, folder)
    digest = fingerprint(model, config)
    config_of_quantizer, model.quantizer = model.quantizer.for_inference()
    facts = {
        "tokenizer": name,
        "fingerprint": digest,
        "written_by": f"vistok {__version__}",
        "downsample": model.downsample,
        "coverage": config.architecture.coverage,
        "vocab_size": model.quantizer.vocab_size,
        "num_codebooks": model.quantizer.num_codebooks,
        "preprocessing": config.preprocessing.model_dump(mode="json"),
    }
    return Source(model, config.model_copy(update={"quantizer": config_of_quantizer}), facts)


def _written(exporter: Exporter, source: Source, folder: Path) -> Written:
    try:
        return exporter.write(source, folder)
    except (ValueError, OSError, MemoryError):
        raise
    except Exception as error:  # libraries raise all kinds for what they cannot record or translate
        reason = next(iter(str(_first_cause(error)).strip().splitlines()), type(error).__name__).rstrip(".")
        raise WorkFailedError(
            f"{exporter.title} cannot hold this tokenizer ({reason}): take another --format, or report it."
        ) from None


def _first_cause(error: BaseException) -> BaseException:
    return error if error.__cause__ is None else _first_cause(error.__cause__)


def _description(form: str, written: Written, found: Agreement, photos: str) -> dict[str, Any]:
    height, width = written.image_size or (None, None)
    return {
        "format": form,
        "files": written.files,
        "pixels": {
            "layout": "b 3 h w",
            "colour": "RGB",
            "type": "float32",
            "black": written.pixels[0],
            "white": written.pixels[1],
            "height": height,
            "width": width,
        },
        "tokens": {"layout": "b q y x", "type": "int64"},
        "agreement": {
            "photos": photos,
            "tokens": found.tokens,
            "same": found.same,
            "max_pixel_difference": found.pixel_difference,
        },
    }
