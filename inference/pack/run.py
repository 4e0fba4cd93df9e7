"""The whole of pack-sequences, from its options to the summary."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...cli.options import find_entry
from ...cli.progress import ProgressLine
from ...language.text_tokenizers import load_text_tokenizer
from ...sequences.layouts.table import LAYOUTS, build_layout
from ...sequences.vocabulary import Vocabulary
from ...sequences.vocabulary_file import as_json
from ...tokenizer.system import usable_cores
from ..packed_shards.formats import PACKED_FORMATS
from ..packed_shards.loss import LOSSES, MASKS
from ..packed_shards.manifest import (
    PackedManifest,
    PackSettings,
    check_same_packing,
    read_packed_manifest,
    without_totals,
    write_packed_manifest,
)
from ..packed_shards.ownership import refuse_replacing_others, remove_packed
from ..packed_shards.sidecar import VOCABULARY_FILE
from ..packed_shards.template import ORDERS, parse_template
from ..token_dataset.folder import TokenFolder, open_folder
from ..token_shards.store import Store, open_store, write_file
from .job import PackJob, PackResult, PackTask
from .plan import pending_tasks, plan_tasks
from .samples import ON_MISSING
from .shard import Report, pack_shard
from .summary import Summary, Totals
from .vocabulary import check_of_tokens, find_vocabulary, id_by_name
from .workers import pack_in_processes

ROWS_A_WORKER = 5000
"""Images below which another process costs more than it saves."""


class Request(NamedTuple):
    """The options of pack-sequences, parsed."""

    tokens: str
    out: str
    text_tokenizer: str
    vocabulary: str | None
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


def pack_collection(request: Request, say: Callable[[str], None]) -> Summary:
    """Pack a folder of token shards; raise ValueError for a wrong call, OSError or WorkFailedError when the work fails."""
    find_entry(PACKED_FORMATS, "format", request.packed_format).require()
    for table, option, name in (
        (LAYOUTS, "layout", request.layout),
        (LOSSES, "loss", request.loss),
        (MASKS, "mask-at", request.mask_at),
        (ON_MISSING, "on-missing", request.on_missing),
    ):
        find_entry(table, option, name)
    out = open_store(request.out)
    out.check()
    folder = _open(request)
    _refuse_itself(folder, out)
    job = make_job(request, folder)
    tasks = plan_tasks(folder)
    with out.hold("pack-sequences"):
        if not request.overwrite:
            check_same_packing(read_packed_manifest(out), job.manifest, out)
        refuse_replacing_others(out, [task.name for task in tasks], job.packed_format)
        if request.overwrite:
            remove_packed(out)
        out.remove_asides()
        pending = pending_tasks(tasks, out, job.manifest)
        write_file(out, VOCABULARY_FILE, _vocabulary_text(job.vocabulary))
        write_packed_manifest(out, job.manifest)
        settings = job.manifest.settings
        say(f"ids         {job.vocabulary.size:,} in the vocabulary, as {settings.dtype}, in the layout {settings.layout}")
        totals = _packed(pending, job, request)
        manifest = write_packed_manifest(out, job.manifest)
        return Summary(totals, manifest, out, len(tasks), len(tasks) - len(pending), folder.left_out)


def _packed(pending: list[PackTask], job: PackJob, request: Request) -> Totals:
    rows = sum(task.source.rows for task in pending)
    workers = min(request.workers or min(usable_cores(), 1 + rows // ROWS_A_WORKER), max(1, len(pending)))
    totals, started = Totals(), time.perf_counter()
    with ProgressLine("images", rows, request.quiet) as progress:
        done = 0

        def report(images: int) -> None:
            nonlocal done
            done += images
            progress.update(done, note=f"{totals.shards}/{len(pending)} shards")

        report(0)
        for result in _results(pending, job, workers, report):
            totals.add(result)
            report(0)
    totals.seconds = time.perf_counter() - started
    return totals


def _results(tasks: Sequence[PackTask], job: PackJob, workers: int, report: Report) -> Iterator[PackResult]:
    if workers > 1:
        yield from pack_in_processes(tasks, job, workers, report)
        return
    for task in tasks:
        yield pack_shard(task, job, report)


def make_job(request: Request, folder: TokenFolder) -> PackJob:
    """Return what all shards of a call have in common; raise ValueError for a wrong option."""
    template = _template(request)
    text = load_text_tokenizer(request.text_tokenizer)
    vocabulary = find_vocabulary(request.vocabulary, request.text_tokenizer, text, folder.manifest)
    check_of_tokens(vocabulary, folder.manifest, request.layout)
    options = dict(map(_layout_option, request.layout_options))
    build_layout(request.layout, vocabulary, **options)
    bos, eos, pad = (
        id_by_name(f"--{option}", getattr(request, option), role, text, vocabulary)
        for option, role in (("bos", "begin"), ("eos", "end"), ("pad", "pad"))
    )
    if request.length is not None and pad is None:
        raise ValueError(
            f"--length {request.length} fills the rest of a row with padding: give --pad, a token of the text tokenizer "
            "such as '<pad>'."
        )
    path = Path(request.text_tokenizer)
    settings = PackSettings(
        text_tokenizer=text.digest,
        vocabulary=hashlib.sha256(_vocabulary_text(vocabulary)).hexdigest(),
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
        settings=settings,
    )
    return PackJob(folder, open_store(request.out), manifest, vocabulary, bos, eos, settings.pad)


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
        raise ValueError(f"--layout-option is {text!r}, but must be NAME=VALUE, such as last_row_end=false.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _open(request: Request) -> TokenFolder:
    try:
        return open_folder(request.tokens, request.skip_incomplete)
    except ValueError as error:
        raise ValueError(str(error).replace("skip_incomplete=True", "--skip-incomplete")) from None


def _refuse_itself(folder: TokenFolder, out: Store) -> None:
    if str(Path(str(folder.store)).absolute()) == str(Path(str(out)).absolute()):
        raise ValueError(f"--out is {out}, where the token shards are: give another folder.")


def _vocabulary_text(vocabulary: Vocabulary) -> bytes:
    return as_json(vocabulary.to_dict()).encode()
