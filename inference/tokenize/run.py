"""The whole of tokenize-images, from its options to the summary."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import torch

from ...cli.options import find_entry
from ...cli.progress import ProgressLine
from ...tokenizer.devices import default_device
from ...tokenizer.preprocessing import PreprocessingConfig
from ...tokenizer.system import usable_cores
from ..api import Tokenizer, load
from ..collection_report.rates import RateLog
from ..collection_report.report import PAGE_FILE, is_other_page
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
from .devices import device_of_rank, parse_cluster_devices, parse_devices
from .engines.launch import Launch, find_launch, watch_launcher
from .engines.ray_cluster import import_ray
from .engines.remote_job import Place, own_place, places_for
from .engines.table import ENGINES, LOCAL, RAY, EngineFactory
from .job import Job, Placement
from .preview import PREVIEW_FILE, compare_with_float32, is_other, write_preview
from .results import Totals, tokenize_shards
from .resume import pending_shards
from .resume_grown import resume_grown
from .settings import choose_limit, choose_precision, given_limit, refuse_two_limits
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
    engine = find_entry(ENGINES, "engine", request.engine)
    launch = find_launch()
    if launch is None and request.engine == RAY:
        import_ray()
        devices = parse_cluster_devices(request.devices)
        here = str(default_device()) if request.fast else "cpu"
        placement = Placement(devices, is_cluster=True, ray_address=request.ray_address, readers=request.workers)
        return _tokenize(request, say, engine, placement, own_place(here, 1, None))
    if launch is None:
        devices = parse_devices(request.devices)
        places = places_for(devices[:1], request.workers or usable_cores())
        return _tokenize(request, say, engine, Placement(devices), places[0])
    return _tokenize_launched(request, say, launch)


def _tokenize_launched(request: Request, say: Callable[[str], None], launch: Launch) -> Summary | None:
    """Take part in a launch: rank 0 does all but what the engine does, which it shares with the others."""
    from .engines.launched import LaunchedEngine, end_now, help_rank_zero
    from .engines.meeting import Meeting

    if request.engine != LOCAL:
        raise ValueError(
            f"--engine is {request.engine}, which starts its processes itself, but this one is {launch.name} of "
            f"{launch.world_size}: leave out --engine, or the launcher."
        )
    watch_launcher(lambda: end_now("the launcher has ended: run the same command again to continue."))
    device = device_of_rank(request.devices, launch.local_rank)
    place = own_place(device, launch.local_world_size, request.workers)
    device_type = torch.device(device).type
    if launch.rank:
        help_rank_zero(launch, place, device_type)
        return None
    with Meeting(launch, device_type) as meeting:
        return _tokenize(
            request,
            say,
            partial(LaunchedEngine, meeting=meeting),
            Placement((device,), launch.world_size),
            place,
            meeting.workers,
        )


def _tokenize(
    request: Request,
    say: Callable[[str], None],
    engine: EngineFactory,
    placement: Placement,
    place: Place,
    before_writing: Callable[[], object] = lambda: None,
) -> Summary:
    out = open_store(request.out)
    shard_format = find_entry(SHARD_FORMATS, "format", request.shard_format)
    shard_format.require()
    refuse_two_limits(request.batch_size, request.max_batch_tokens)
    out.check()
    suffix = max(shard_format.suffixes, key=len)
    plan = plan_shards(request.inputs, request.shard_size, str(out), request.keep, suffix, request.image_column)
    tokenizer = _load(request, place.device)
    before_writing()
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
            readers=place.readers,
            encoders=place.encoders,
            batch_size=choose_limit(limit, tokenizer, precision),
            reads_in_processes=reads_in_processes(device.type),
            stop_on_error=request.stop_on_error,
            placement=placement,
        )
        new_images = 0
        if not request.overwrite:
            plan, new_images = resume_grown(plan, out, shard_format)
        _clear(request, plan, job)
        pending = pending_shards(plan.shards, job, request.retry_failures)
        write_manifest(out, manifest)
        say(f"model       {request.model}, size {manifest.preprocessing.size}, on {placement}")
        if request.fast and (line := compare_with_float32(plan, tokenizer, job.encode, request.views)):
            say(line)
        rates = RateLog()
        with ProgressLine("images", quiet=request.quiet) as progress:

            def report(totals: Totals) -> None:
                rates.add(totals.progress["images"])
                failures = totals.progress["failures"]
                note = f"{totals.shards_done}/{len(pending)} shards" + (f"  {failures} failed" if failures else "")
                progress.update(totals.progress["images"], totals.expected_images or None, note)

            totals = tokenize_shards(pending, job, engine, report)
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
    shards = [job.shard_file(task.name) for task in plan.shards]
    outputs = [MANIFEST_FILE, *shards, *map(sidecar_name, shards), *([PREVIEW_FILE] if request.preview else [])]
    outputs += [PAGE_FILE] if request.report else []
    refuse_overwriting(plan, list(map(out.path_of, [*outputs, *(removable_files(out) if request.overwrite else [])])))
    refuse_replacing(out, shards, job.shard_format)
    if request.preview:
        refuse_other(out, PREVIEW_FILE, is_other(out))
    if request.report:
        refuse_other(out, PAGE_FILE, is_other_page(out))
    if request.overwrite:
        remove_shards(out)
    out.remove_asides()
