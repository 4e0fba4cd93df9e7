"""The options of pack-sequences, and what follows from them for all shards."""

import hashlib
import json
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...cli.options import find_entry
from ...language.text_tokenizers import load_text_tokenizer
from ...sequences.layouts.table import LAYOUTS, build_layout
from ...sequences.vocabulary import Vocabulary
from ...sequences.vocabulary_file import as_json
from ..packed_shards.manifest import PackedManifest, PackSettings, without_totals
from ..packed_shards.template import ORDERS, parse_template
from ..token_dataset.folder import TokenFolder
from ..token_shards.store import open_store
from .job import PackJob
from .levels import levels_for
from .vocabulary import DIGITS, check_of_tokens, codes_for, find_vocabulary, id_by_name


class Request(NamedTuple):
    """The options of pack-sequences, parsed."""

    tokens: str
    out: str
    text_tokenizer: str
    vocabulary: str | None
    extend: bool
    layout: str
    layout_options: list[str]
    packed_format: str
    order: str | None
    template: str | None
    caption: str
    on_missing: str
    bos: str | None
    eos: str | None
    pad: str | None
    length: int | None
    loss: str
    mask_at: str
    skip_incomplete: bool
    workers: int | None
    overwrite: bool
    quiet: bool


def make_job(request: Request, folder: TokenFolder) -> PackJob:
    """Return what all shards of a call have in common; raise ValueError for a wrong option."""
    template = _template(request)
    text = load_text_tokenizer(request.text_tokenizer)
    roles = {"begin": request.bos, "end": request.eos, "pad": request.pad}
    options = dict(map(_layout_option, request.layout_options))
    if request.layout == DIGITS:
        options["levels"] = levels_for(folder.manifest, options.get("levels"))
    codes = codes_for(folder.manifest, request.layout, options)
    _check_size(text.size + codes.size * codes.codebooks)
    vocabulary, extended = find_vocabulary(
        request.vocabulary, request.extend, request.text_tokenizer, text, codes, roles
    )
    _check_size(vocabulary.size)
    check_of_tokens(vocabulary, folder.manifest, request.layout)
    vocabulary.check_text(text)
    _check_needed(request.layout, options)
    build_layout(request.layout, vocabulary, **options)
    bos, eos, pad = (
        id_by_name(f"--{option}", getattr(request, option), role, text, vocabulary)
        for option, role in zip(("bos", "eos", "pad"), roles, strict=True)
    )
    if request.length is not None and pad is None:
        raise ValueError(
            f"--length {request.length} fills the rest of a row with padding: give --pad, a token of the text tokenizer "
            "such as '<pad>'."
        )
    path = Path(request.text_tokenizer)
    settings = PackSettings(
        text_tokenizer=text.digest,
        vocabulary=hashlib.sha256(vocabulary_text(vocabulary)).hexdigest(),
        layout=request.layout,
        layout_options=options,
        template=template,
        caption=request.caption,
        bos=bos,
        eos=eos,
        pad=pad if request.length is not None else None,
        length=request.length,
        on_missing=request.on_missing,
        loss=request.loss,
        mask_at=request.mask_at,
        format=request.packed_format,
        dtype="uint16" if vocabulary.size <= 1 + np.iinfo("uint16").max else "int32",
    )
    manifest = PackedManifest(
        tokens=without_totals(folder.manifest),
        text_tokenizer=str(path.absolute()) if path.exists() else request.text_tokenizer,
        is_extended=extended is not None,
        tokenizer_file=None if extended is None else hashlib.sha256(extended.encode()).hexdigest(),
        settings=settings,
    )
    return PackJob(folder, open_store(request.out), manifest, vocabulary, extended, bos, eos, settings.pad)


def _check_needed(layout: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError when a layout lacks an option that it cannot do without."""
    for name, parameter in list(signature(LAYOUTS[layout]).parameters.items())[1:]:
        if parameter.default is parameter.empty and name not in options:
            raise ValueError(
                f"The layout {layout} needs the {name} of the tokenizer: give such as --layout-option '{name}=[1,2,4,8]'."
            )


def _check_size(ids: int) -> None:
    """Raise ValueError when ids do not fit into the largest type that they are written in."""
    most = 1 + np.iinfo("int32").max
    if ids > most:
        raise ValueError(
            f"The vocabulary has {ids:,} ids, more than the {most:,} of int32: choose a layout that writes a code as several "
            "ids, as digits does, or a tokenizer of fewer codes."
        )


def _template(request: Request) -> str:
    if request.order is not None and request.template is not None:
        raise ValueError("--order and --template both say what a document is: give one of them.")
    if request.template is not None:
        text = request.template.replace("\\n", "\n")
    else:
        text = find_entry(ORDERS, "order", request.order or next(iter(ORDERS)))
    parse_template(text, request.caption)
    return text


def _layout_option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(
            f"--layout-option is {text!r}, but must be NAME=VALUE, such as last_row_end=false or grid=[32,32]."
        )
    try:
        parsed = json.loads(value)
    except ValueError:
        return name, value
    return name, tuple(parsed) if isinstance(parsed, list) else parsed


def vocabulary_text(vocabulary: Vocabulary) -> bytes:
    """Return the content of vocabulary.json."""
    return as_json(vocabulary.to_dict()).encode()
