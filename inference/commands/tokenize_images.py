"""tokenize-images: pictures to token shards."""

import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ...images.preprocessing import stack_pixels
from ...pretrained import DEFAULT_MODEL
from ...terminal import WORK_FAILED, check_output_folder, counted, one_sentence
from ..api import Tokenizer, load
from ..forward import COMPILED, COMPILING_PAYS, EXACT_ARITHMETIC, Encode, agreement, fast_arithmetic, fast_encode
from ..manifest import Manifest, new_manifest, read_manifest, write_manifest
from ..pipeline import Progress as Done
from ..pipeline import tokenize_shards
from ..plan import Plan, plan_shards, refuse_overwriting
from ..preview import write_preview
from ..reading import first_pictures
from ..shards import MANIFEST_FILE, remove_shards
from ..summary import summary_lines

app = typer.Typer(add_completion=False, rich_markup_mode=None)
console = Console(highlight=False)

COMPARED_PICTURES = 8
PREVIEW_FILE = "preview.png"


class Format(str, Enum):
    """Layout of the token shards."""

    WDS = "wds"


class OnError(str, Enum):
    """What a broken picture does."""

    SKIP = "skip"
    STOP = "stop"


class Engine(str, Enum):
    """Where the work is done."""

    LOCAL = "local"


@app.command()
def tokenize_images(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Picture files, folders (walked), webdataset .tar shards (photos-{0000..0009}.tar), or .txt lists of these, "
            "one a line, relative to the working directory.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the token shards; the same call goes on where it left off.")],
    model: Annotated[str, typer.Option(help="Built-in name, tokenizer folder, or hf://owner/repo.")] = DEFAULT_MODEL,
    size: Annotated[
        str | None, typer.Option(help="Side of the centre square in pixels, or native.", show_default="the model's")
    ] = None,
    format: Annotated[Format, typer.Option(help="wds: webdataset .tar shards.")] = Format.WDS,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures encoded at a time; never changes a token.")] = 16,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads that read pictures.", show_default="one a core")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.", show_default="cuda if there is one")] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="Faster arithmetic; says how many tokens stay the same.")
    ] = False,
    shard_size: Annotated[int, typer.Option(min=1, help="Pictures in a shard, where the input is not a shard.")] = 1000,
    on_error: Annotated[
        OnError, typer.Option(help="A broken picture or shard: note it and go on, or stop.")
    ] = OnError.SKIP,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove the token shards in --out first.")] = False,
    preview: Annotated[int, typer.Option(min=0, help="Write preview.png with the first N pictures.")] = 0,
    engine: Annotated[Engine, typer.Option(help="local: this machine.")] = Engine.LOCAL,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Turn pictures into shards of discrete tokens; nothing is lost, and broken pictures are listed."""
    with one_sentence("tokenize-images", debug):
        check_output_folder(out)
        plan = plan_shards(inputs, shard_size, out)
        refuse_overwriting(plan, _outputs(plan, out, bool(preview)))
        tokenizer = _tokenizer(model, size, device)
        if overwrite:
            remove_shards(out)
        before = read_manifest(out)
        manifest = new_manifest(tokenizer, _arithmetic(fast, tokenizer, plan, before))
        _check_same(before, manifest, out)
        write_manifest(out, manifest)
        cores = len(os.sched_getaffinity(0))
        # Fast on a CPU, each core encodes a batch of its own: threads that share one wait for each other at every layer.
        encoders = cores if fast and tokenizer.device.type == "cpu" else 1
        if encoders > 1:
            torch.set_num_threads(1)
        encode = _fast(tokenizer, plan, manifest.arithmetic) if fast else tokenizer.encode_pixels
        console.print(f"{tokenizer!r} on {tokenizer.device}", markup=False)
        with _progress() as progress:
            bar = progress.add_task("", total=len(plan.shards), pictures=0, failures=0)

            def report(done: Done) -> None:
                progress.update(bar, completed=done.shards, pictures=done.pictures, failures=done.failures)

            totals = tokenize_shards(
                plan.shards,
                out,
                manifest,
                encode,
                batch_size=batch_size,
                workers=workers or cores,
                encoders=encoders,
                stop_on_error=on_error is OnError.STOP,
                report=report,
            )
        manifest = write_manifest(out, manifest)
        for line in summary_lines(totals, plan, manifest, out):
            console.print(line, markup=False, soft_wrap=True)
        if preview and write_preview(out / PREVIEW_FILE, plan, tokenizer, encode, preview):
            console.print(f"preview     {out / PREVIEW_FILE}", markup=False)
        if totals.damaged or (totals.failures and not totals.pictures):
            raise typer.Exit(WORK_FAILED)


def main() -> None:
    """Run the command."""
    app()


def _tokenizer(model: str, size: str | None, device: str | None) -> Tokenizer:
    tokenizer = load(model, device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if size is None:
        return tokenizer
    multiple = tokenizer.downsample
    if size != "native" and not (size.isdecimal() and int(size) > 0 and int(size) % multiple == 0):
        raise ValueError(f"--size is {size!r}, but must be native or a multiple of {multiple} such as {32 * multiple}.")
    pixels = "native" if size == "native" else int(size)
    return tokenizer.with_preprocessing(tokenizer.config.preprocessing.model_copy(update={"size": pixels}))


def _outputs(plan: Plan, out: Path, preview: bool) -> list[Path]:
    names = [MANIFEST_FILE, *(f"{shard.name}{ending}" for shard in plan.shards for ending in (".tar", ".json"))]
    return [out / name for name in [*names, *([PREVIEW_FILE] if preview else [])]]


def _arithmetic(fast: bool, tokenizer: Tokenizer, plan: Plan, before: Manifest | None) -> str:
    if not fast:
        return EXACT_ARITHMETIC
    # A folder goes on as it was begun: compiled code rounds differently, and one folder holds tokens of one kind.
    if before is not None and before.arithmetic != EXACT_ARITHMETIC:
        return fast_arithmetic(tokenizer.device, before.arithmetic.endswith(COMPILED))
    return fast_arithmetic(tokenizer.device, plan.estimated_pictures >= COMPILING_PAYS)


def _check_same(before: Manifest | None, manifest: Manifest, out: Path) -> None:
    if before is not None and (before.fingerprint, before.arithmetic) != (manifest.fingerprint, manifest.arithmetic):
        raise ValueError(
            f"{out} holds tokens of {before.fingerprint[:12]} in {before.arithmetic} arithmetic, not of "
            f"{manifest.fingerprint[:12]} in {manifest.arithmetic}: use another --out folder, or --overwrite."
        )


def _fast(tokenizer: Tokenizer, plan: Plan, arithmetic: str) -> Encode:
    encode = fast_encode(tokenizer.model, tokenizer.device, arithmetic.endswith(COMPILED))
    pictures = first_pictures(plan, tokenizer.config.preprocessing, tokenizer.downsample, COMPARED_PICTURES)
    pixels = [stack_pixels([picture.pixels]) for picture in pictures]
    if pixels:
        share = agreement(tokenizer.encode_pixels, encode, pixels)
        console.print(
            f"--fast: {share:.2%} of the tokens of {counted(len(pixels), 'picture')} are those of float32",
            soft_wrap=True,
        )
    return encode


def _progress() -> Progress:
    return Progress(
        BarColumn(),
        TextColumn("{task.completed}/{task.total} shards"),
        TextColumn("{task.fields[pictures]} pictures"),
        TextColumn("{task.fields[failures]} failed"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
