"""The whole of tokenize-images, from its options to the summary."""

from collections.abc import Callable

from ...cli.options import check_output_folder
from ...cli.progress import ProgressLine
from ...images.preprocessing import stack_pixels
from ...tokenizer.files import remove_asides
from ...tokenizer.folder_lock import hold_folder
from ...tokenizer.wording import pluralize
from ..arithmetic import agreement
from ..inputs.plan import Plan, plan_shards, refuse_overwriting
from ..inputs.reading import first_images
from ..token_shards.formats import find_format
from ..token_shards.manifest import check_same, new_manifest, read_manifest, write_manifest
from ..token_shards.ownership import refuse_other, refuse_replacing, removable_shards, remove_shards
from ..token_shards.sidecar import MANIFEST_FILE, sidecar_path
from .engines import find_engine
from .job import Job
from .preview import is_other, write_preview
from .request import Request, choose_precision, load_tokenizer, make_job
from .results import Progress, tokenize_shards
from .resume import pending_shards
from .resume_grown import resume_grown
from .summary import Summary

COMPARED_IMAGES = 8
PREVIEW_FILE = "preview.png"
Say = Callable[[str], None]


def tokenize_collection(request: Request, say: Say) -> Summary:
    """Tokenize a collection; `say` is called with lines for people on the way.

    Raises ValueError for a wrong call, and OSError, StoppedOnError or UnreadableInputError when the work fails.
    """
    out, shard_format = request.out, find_format(request.shard_format)
    find_engine(request.engine)
    check_output_folder(out)
    plan = plan_shards(request.inputs, request.shard_size, out, request.keep, shard_format.suffix)
    tokenizer = load_tokenizer(request)
    with hold_folder(out, "tokenize-images"):
        before = None if request.overwrite else read_manifest(out)
        precision = choose_precision(request, tokenizer, plan, before)
        manifest = new_manifest(tokenizer, request.model, precision, request.shard_format, request.keep.text)
        check_same(before, manifest, out)
        job = make_job(request, tokenizer, manifest)
        new_images = 0
        if not request.overwrite:
            plan, new_images = resume_grown(plan, out, shard_format)
        _clear(request, plan, job)
        pending = pending_shards(plan.shards, job, request.retry_failures)
        write_manifest(out, manifest)
        say(f"model       {request.model}, size {manifest.preprocessing.size}, on {tokenizer.device}")
        if request.fast:
            _compare(job, plan, say)
        with ProgressLine("images", quiet=request.quiet) as line:

            def report(progress: Progress) -> None:
                shards = f"{progress.shards}/{len(pending)} shards"
                failed = f"  {progress.failures} failed" if progress.failures else ""
                line.update(progress.images, progress.expected or None, shards + failed)

            totals = tokenize_shards(pending, job, request.engine, report)
        manifest = write_manifest(out, manifest)
        if request.preview and write_preview(out / PREVIEW_FILE, plan, tokenizer, job.encode, request.preview):
            say(f"preview     {out / PREVIEW_FILE}")
        return Summary(totals, plan, manifest, out, len(plan.shards) - len(pending), new_images)


def _clear(request: Request, plan: Plan, job: Job) -> None:
    """Refuse to write over files that vistok must not touch, then remove what --overwrite or a kill leaves to remove."""
    out, preview = request.out, request.out / PREVIEW_FILE
    shards = [job.shard_path(task.name) for task in plan.shards]
    outputs = [out / MANIFEST_FILE, *shards, *map(sidecar_path, shards), *([preview] if request.preview else [])]
    refuse_overwriting(plan, [*outputs, *(removable_shards(out) if request.overwrite else [])])
    refuse_replacing(out, [task.name for task in plan.shards], job.shard_format)
    if request.preview:
        refuse_other(preview, is_other(preview))
    if request.overwrite:
        remove_shards(out)
    remove_asides(out)


def _compare(job: Job, plan: Plan, say: Say) -> None:
    """Say how many tokens of the first images the fast encoder shares with the exact one."""
    tokenizer = job.tokenizer
    images = first_images(plan, tokenizer.config.preprocessing, tokenizer.downsample, COMPARED_IMAGES)
    pixels = [stack_pixels([image.pixels]) for image in images]
    if pixels:
        fraction = agreement(tokenizer.encode_pixels, job.encode, pixels)
        say(f"--fast: {fraction:.2%} of the tokens of {pluralize(len(pixels), 'image')} are those of float32")
