"""What tokenize-images does, from its options to the summary."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from ...cli.options import check_output_folder
from ...cli.progress import ProgressLine
from ...images.preprocessing import stack_pixels
from ...tokenizer.devices import usable_cores
from ...tokenizer.files import hold_folder, remove_asides
from ...tokenizer.wording import pluralize
from ..api import Tokenizer, load
from ..arithmetic import COMPILING_PAYS, EXACT_ARITHMETIC, Encode, Fast, agreement, fast_encode, fast_on, parse_fast
from ..inputs.keep import Keep
from ..inputs.plan import Plan, plan_shards, refuse_overwriting
from ..inputs.reading import first_images
from ..token_shards.manifest import Manifest, check_same, new_manifest, read_manifest, write_manifest
from ..token_shards.sidecar import MANIFEST_FILE, removable_shards, remove_shards
from .done import pending_shards
from .foreign import refuse_replacing
from .growth import grown
from .pipeline import Workload, tokenize_shards
from .preview import write_preview
from .summary import Summary
from .totals import Progress

BATCH = 16
"""Images that are handed to the encoder at a time."""
COMPARED_IMAGES = 8
PREVIEW_FILE = "preview.png"
Say = Callable[[str], None]


class Request(NamedTuple):
    """The options of tokenize-images, in the types that the work is done with."""

    inputs: list[str]
    out: Path
    model: str
    size: str | None
    keep: Keep
    batch_size: int | None
    workers: int | None
    device: str
    fast: bool
    shard_size: int
    stop_on_error: bool
    retry_failures: bool
    overwrite: bool
    preview: int
    quiet: bool


def tokenize_collection(request: Request, say: Say) -> Summary:
    """Do what was asked for; `say` is told what a person wants to know on the way.

    Raises ValueError for a wrong call, and OSError, StoppedOnError or UnreadableInputError when the work fails.
    """
    out = request.out
    check_output_folder(out)
    plan = plan_shards(request.inputs, request.shard_size, out, request.keep)
    tokenizer = _tokenizer(request)
    with hold_folder(out, "tokenize-images"):
        before = None if request.overwrite else read_manifest(out)
        fast = _fast(request, tokenizer, plan, before)
        manifest = new_manifest(tokenizer, request.model, str(fast or EXACT_ARITHMETIC), request.keep.text)
        check_same(before, manifest, out)
        new_images = 0
        if not request.overwrite:
            plan, new_images = grown(plan, out)
        removed = removable_shards(out) if request.overwrite else []
        refuse_overwriting(plan, [*_outputs(plan, out, bool(request.preview)), *removed])
        refuse_replacing(out, [shard.name for shard in plan.shards], [out / PREVIEW_FILE] if request.preview else [])
        if request.overwrite:
            remove_shards(out)
        remove_asides(out)
        pending = pending_shards(plan.shards, out, manifest, request.retry_failures)
        write_manifest(out, manifest)
        say(f"model       {request.model}, size {manifest.preprocessing.size}, on {tokenizer.device}")
        workload = _workload(request, tokenizer)
        encode = _compared(tokenizer, plan, fast, say) if fast else tokenizer.encode_pixels
        with ProgressLine("images", quiet=request.quiet) as line:

            def report(progress: Progress) -> None:
                shards = f"{progress.shards}/{len(pending)} shards"
                failed = f"  {progress.failures} failed" if progress.failures else ""
                line.update(progress.images, progress.expected or None, shards + failed)

            totals = tokenize_shards(
                pending, out, manifest, encode, workload, stop_on_error=request.stop_on_error, report=report
            )
        manifest = write_manifest(out, manifest)
        if request.preview and write_preview(out / PREVIEW_FILE, plan, tokenizer, encode, request.preview):
            say(f"preview     {out / PREVIEW_FILE}")
        return Summary(totals, plan, manifest, out, len(plan.shards) - len(pending), new_images)


def _tokenizer(request: Request) -> Tokenizer:
    tokenizer, size = load(request.model, request.device), request.size
    if size is None:
        return tokenizer
    multiple = tokenizer.downsample
    if size != "native" and not (size.isdecimal() and int(size) > 0 and int(size) % multiple == 0):
        raise ValueError(f"--size is {size!r}, but must be native or a multiple of {multiple} such as {32 * multiple}.")
    pixels = "native" if size == "native" else int(size)
    return tokenizer.with_preprocessing(tokenizer.config.preprocessing.model_copy(update={"size": pixels}))


def _workload(request: Request, tokenizer: Tokenizer) -> Workload:
    cores = usable_cores()
    on_cpu = tokenizer.device.type == "cpu"
    if on_cpu:
        # Each core encodes a batch of its own: threads that share one wait for each other at every layer.
        torch.set_num_threads(1)
    return Workload(request.batch_size or BATCH, request.workers or cores, cores if on_cpu else 1)


def _outputs(plan: Plan, out: Path, preview: bool) -> list[Path]:
    names = [MANIFEST_FILE, *(f"{shard.name}{ending}" for shard in plan.shards for ending in (".tar", ".json"))]
    return [out / name for name in [*names, *([PREVIEW_FILE] if preview else [])]]


def _fast(request: Request, tokenizer: Tokenizer, plan: Plan, before: Manifest | None) -> Fast | None:
    if not request.fast:
        return None
    if before is None or before.arithmetic == EXACT_ARITHMETIC:
        return fast_on(tokenizer.device, plan.estimated_images() >= COMPILING_PAYS, request.batch_size)
    # A folder goes on as it was begun: compiled code rounds differently, and one folder holds tokens of one kind.
    begun = parse_fast(before.arithmetic)
    return fast_on(tokenizer.device, begun.compiled, request.batch_size or begun.batch_size)


def _compared(tokenizer: Tokenizer, plan: Plan, fast: Fast, say: Say) -> Encode:
    """Return the fast encoder, and tell how its tokens compare with the exact ones."""
    encode = fast_encode(tokenizer.model, tokenizer.device, fast)
    images = first_images(plan, tokenizer.config.preprocessing, tokenizer.downsample, COMPARED_IMAGES)
    pixels = [stack_pixels([image.pixels]) for image in images]
    if pixels:
        fraction = agreement(tokenizer.encode_pixels, encode, pixels)
        say(f"--fast: {fraction:.2%} of the tokens of {pluralize(len(pixels), 'image')} are those of float32")
    return encode
