"""The whole of tokenize-images, from its options to the summary."""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from ...cli.options import find_entry
from ...cli.progress import ProgressLine
from ...tokenizer.preprocessing import PreprocessingConfig
from ..api import Tokenizer, load
from ..collection_report.page_file import PAGE_FILE, is_other_page
from ..collection_report.rates import RateLog
from ..inputs.companions import Keep
from ..inputs.plan import Plan, plan_shards, refuse_overwriting
from ..inputs.readers import reads_in_processes
from ..inputs.views import Views
from ..token_shards.formats import SHARD_FORMATS
from ..token_shards.manifest import check_same, new_manifest, read_manifest, write_manifest
from ..token_shards.ownership import refuse_other, refuse_replacing, removable_files, remove_shards
from ..token_shards.sidecar import MANIFEST_FILE, sidecar_name
from ..token_shards.store import open_store
from .call_report import report_call
from .job import Job
from .preview import PREVIEW_FILE, compare_with_float32, is_other, write_preview
from .results import Totals, tokenize_shards
from .resume import pending_shards
from .resume_grown import resume_grown
from .settings import choose_limit, choose_precision, given_limit, refuse_two_limits
from .sites import Site, open_site
from .summary import Summary


class Request(NamedTuple):
    """The options of tokenize-images, parsed."""

    inputs: list[str]
    out: str
    model: str
    size: str | None
    keep: Keep
    image_column: str
    shard_format: str
    batch_size: int | None
    max_batch_tokens: int | None
    views: Views
    workers: int | None
    devices: str
    fast: bool
    shard_size: int
    stop_on_error: bool
    retry_failures: bool
    overwrite: bool
    preview: int
    report: bool
    engine: str
    ray_address: str | None
    quiet: bool


def tokenize_collection(request: Request, say: Callable[[str], None]) -> Summary | None:
    """Tokenize a collection; return None in a process of a launch that has helped rank 0.

    Raises ValueError for a wrong call, and OSError or WorkFailedError when the work fails.
    """
    with open_site(request.engine, request.devices, request.ray_address, request.workers, request.fast) as site:
        return _tokenize(request, say, site) if site else None


def _tokenize(request: Request, say: Callable[[str], None], site: Site) -> Summary:
    out = open_store(request.out)
    shard_format = find_entry(SHARD_FORMATS, "format", request.shard_format)
    shard_format.require()
    refuse_two_limits(request.batch_size, request.max_batch_tokens)
    out.check()
    plan = plan_shards(
        request.inputs,
        request.shard_size,
        str(out),
        request.keep,
        max(shard_format.suffixes, key=len),
        request.image_column,
    )
    tokenizer = _load(request, site.place.device)
    site.wait_for_others()
    with out.hold("tokenize-images"):
        before = None if request.overwrite else read_manifest(out)
        limit = given_limit(request.batch_size, request.max_batch_tokens, tokenizer)
        precision = choose_precision(request.fast, limit, tokenizer, plan, before)
        manifest = new_manifest(
            tokenizer, request.model, precision, request.shard_format, request.keep.text, request.views
        )
        check_same(before, manifest, out)
        device = tokenizer.device
        job = Job(
            out=out,
            manifest=manifest,
            tokenizer=tokenizer,
            shard_format=shard_format,
            readers=site.place.readers,
            encoders=site.place.encoders,
            batch_size=choose_limit(limit, tokenizer, precision),
            reads_in_processes=reads_in_processes(device.type),
            stop_on_error=request.stop_on_error,
            placement=site.placement,
        )
        new_images = 0
        if not request.overwrite:
            plan, new_images = resume_grown(plan, out, shard_format)
        _clear(request, plan, job)
        pending = pending_shards(plan.shards, job, request.retry_failures)
        write_manifest(out, manifest.model_copy(update={"has_ended": not pending}))
        say(f"model       {request.model}, size {manifest.preprocessing.size}, on {site.placement}")
        if request.fast and (line := compare_with_float32(plan, tokenizer, job.encode, request.views)):
            say(line)
        rates = RateLog()
        with ProgressLine("images", quiet=request.quiet) as progress:

            def report(totals: Totals) -> None:
                rates.add(totals.progress["images"])
                failures = totals.progress["failures"]
                note = f"{totals.shards_done}/{len(pending)} shards" + (f"  {failures} failed" if failures else "")
                progress.update(totals.progress["images"], totals.expected_images or None, note)

            totals = tokenize_shards(pending, job, site.engine, report)
        manifest = write_manifest(out, manifest)
        if request.preview and write_preview(out, plan, tokenizer, job.encode, request.preview, request.views):
            say(f"preview     {out.path_of(PREVIEW_FILE)}")
        done_before = len(plan.shards) - len(pending)
        if request.report:
            report_call(job, manifest, plan, totals, done_before, rates.points(), say)
        return Summary(totals, plan, manifest, out, done_before, new_images)


def _load(request: Request, device: str) -> Tokenizer:
    tokenizer = load(request.model, device)
    if request.size is not None:
        preprocessing = _with_size(tokenizer.config.preprocessing, request.size, tokenizer.downsample)
        tokenizer.config.architecture.require_image_size("--size", preprocessing.size)
        tokenizer = tokenizer.with_preprocessing(preprocessing)
    request.views.check(tokenizer.config.preprocessing)
    return tokenizer


def _with_size(preprocessing: PreprocessingConfig, size: str, multiple: int) -> PreprocessingConfig:
    with suppress(ValueError):
        values = preprocessing.model_dump() | {"size": int(size) if size.isdecimal() else size}
        changed = PreprocessingConfig.model_validate(values)
        if changed.side is None or changed.side % multiple == 0:
            return changed
    raise ValueError(
        f"--size is {size!r}, but must be native, area:N or area:MIN-MAX, or a multiple of {multiple} such as {32 * multiple}."
    )


def _clear(request: Request, plan: Plan, job: Job) -> None:
    """Refuse to write over files that vistok must not touch, then remove what --overwrite or a kill leaves to remove."""
    out = job.out
    names = [task.name for task in plan.shards]
    shards = list(map(job.shard_file, names))
    outputs = [MANIFEST_FILE, *shards, *map(sidecar_name, shards), *([PREVIEW_FILE] if request.preview else [])]
    outputs += [PAGE_FILE] if request.report else []
    outputs += removable_files(out, names) if request.overwrite else []
    refuse_overwriting(plan, list(map(out.path_of, outputs)))
    refuse_replacing(out, shards, job.shard_format)
    if request.preview:
        refuse_other(out, PREVIEW_FILE, is_other(out))
    if request.report:
        refuse_other(out, PAGE_FILE, is_other_page(out))
    if request.overwrite:
        remove_shards(out, names)
        for name, is_of_others in ((PREVIEW_FILE, is_other(out)), (PAGE_FILE, is_other_page(out))):
            if not is_of_others:
                out.remove(name)
    out.remove_asides()
