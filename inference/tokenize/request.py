"""From the options of tokenize-images to the job of an engine."""

from pathlib import Path
from typing import NamedTuple

from ...tokenizer.devices import usable_cores
from ..api import Tokenizer, load
from ..arithmetic import COMPILING_PAYS, EXACT_ARITHMETIC, fast_on, parse_fast
from ..inputs.companions import Keep
from ..inputs.plan import Plan
from ..token_shards.formats import find_format
from ..token_shards.manifest import Manifest
from .job import Job

BATCH = 16
"""Images per batch by default."""


class Request(NamedTuple):
    """The options of tokenize-images, parsed."""

    inputs: list[str]
    out: Path
    model: str
    size: str | None
    keep: Keep
    shard_format: str
    batch_size: int | None
    workers: int | None
    device: str
    fast: bool
    shard_size: int
    stop_on_error: bool
    retry_failures: bool
    overwrite: bool
    preview: int
    engine: str
    quiet: bool


def load_tokenizer(request: Request) -> Tokenizer:
    """Load the tokenizer at the size that was asked for; raise ValueError when there is no such tokenizer or size."""
    tokenizer, size = load(request.model, request.device), request.size
    if size is None:
        return tokenizer
    multiple = tokenizer.downsample
    if size != "native" and not (size.isdecimal() and int(size) > 0 and int(size) % multiple == 0):
        raise ValueError(f"--size is {size!r}, but must be native or a multiple of {multiple} such as {32 * multiple}.")
    pixels = "native" if size == "native" else int(size)
    return tokenizer.with_preprocessing(tokenizer.config.preprocessing.model_copy(update={"size": pixels}))


def choose_precision(request: Request, tokenizer: Tokenizer, plan: Plan, before: Manifest | None) -> str:
    """Return the precision; a folder keeps the one it was begun with, since another rounds to other tokens."""
    if not request.fast:
        return EXACT_ARITHMETIC
    if before is None or before.precision == EXACT_ARITHMETIC:
        return str(fast_on(tokenizer.device, plan.estimated_images() >= COMPILING_PAYS, request.batch_size))
    begun = parse_fast(before.precision)
    return str(fast_on(tokenizer.device, begun.compiled, request.batch_size or begun.batch_size))


def make_job(request: Request, tokenizer: Tokenizer, manifest: Manifest) -> Job:
    """Spread the work over the cores of this machine."""
    cores = usable_cores()
    return Job(
        out=request.out,
        manifest=manifest,
        tokenizer=tokenizer,
        shard_format=find_format(request.shard_format),
        batch_size=request.batch_size or BATCH,
        readers=request.workers or cores,
        encoders=cores if tokenizer.device.type == "cpu" else 1,
        stop_on_error=request.stop_on_error,
    )
