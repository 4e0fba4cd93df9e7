"""The whole of pack-sequences, from its options to the summary."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ...cli.options import find_entry
from ...cli.progress import ProgressLine
from ...sequences.layouts.table import LAYOUTS
from ...tokenizer.system import usable_cores
from ..packed_shards.formats import PACKED_FORMATS
from ..packed_shards.loss import LOSSES, MASKS
from ..packed_shards.manifest import check_same_packing, read_packed_manifest, write_packed_manifest
from ..packed_shards.ownership import refuse_replacing_others, remove_packed
from ..packed_shards.sidecar import TOKENIZER_FILE, VOCABULARY_FILE
from ..token_dataset.folder import TokenFolder, open_folder
from ..token_shards.store import Store, open_store, write_file
from .job import PackJob, PackResult, PackTask
from .plan import pending_tasks, plan_tasks
from .request import Request, make_job, vocabulary_text
from .samples import ON_MISSING
from .shard import Report, pack_shard
from .summary import Summary, Totals
from .workers import pack_in_processes

ROWS_A_WORKER = 5000
"""Images below which another process costs more than it saves."""


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
            check_same_packing(read_packed_manifest(out), job.manifest, job.text, out)
        refuse_replacing_others(out, [task.name for task in tasks], job.packed_format, job.tokenizer is not None)
        if request.overwrite:
            remove_packed(out, [task.name for task in tasks])
        out.remove_asides()
        pending = pending_tasks(tasks, out, job.manifest)
        write_packed_manifest(out, job.manifest)  # before the others, which are vistok's where it is
        write_file(out, VOCABULARY_FILE, vocabulary_text(job.vocabulary))
        if job.tokenizer is not None:
            write_file(out, TOKENIZER_FILE, job.tokenizer.encode())
        settings = job.manifest.settings
        say(
            f"ids         {job.vocabulary.size:,} in the vocabulary, as {settings.dtype}, in the layout {settings.layout}"
        )
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


def _open(request: Request) -> TokenFolder:
    try:
        return open_folder(request.tokens, request.skip_incomplete)
    except ValueError as error:
        raise ValueError(str(error).replace("skip_incomplete=True", "--skip-incomplete")) from None


def _refuse_itself(folder: TokenFolder, out: Store) -> None:
    if str(Path(str(folder.store)).absolute()) == str(Path(str(out)).absolute()):
        raise ValueError(f"--out is {out}, where the token shards are: give another folder.")
