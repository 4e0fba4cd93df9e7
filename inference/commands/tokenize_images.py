"""tokenize-images: images to token shards."""

from enum import Enum
from typing import Annotated

import typer

from ...cli.options import DebugOption, JsonOption, QuietOption, VersionOption
from ...cli.printing import print_json, say
from ...cli.user_errors import WORK_FAILED, report_errors
from ...pretrained.find import DEFAULT_MODEL, MODEL_HELP
from ..token_shards.formats import SHARD_FORMATS
from ..tokenize.engines.table import ENGINES

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class OnError(str, Enum):
    """What to do at a broken image."""

    SKIP = "skip"
    STOP = "stop"


def parse_batch_size(text: str) -> int | None:
    """Return a number of images, or None for auto."""
    if text == "auto":
        return None
    if text.isdecimal() and int(text):
        return int(text)
    raise typer.BadParameter(f"{text!r} is neither auto nor a number of at least 1.")


@app.command()
def tokenize_images(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Image files, folders (walked), webdataset .tar shards (photos-{0000..0009}.tar), .parquet files with images, "
            "URLs of these (s3://, gs://, hf://datasets/, https://), or .txt lists: one per line, relative to the working "
            "directory; lines that begin with # are comments.",
            show_default=False,
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            help="Folder for the token shards, or a URL such as s3://bucket/folder or hf://datasets/OWNER/REPO; the same call "
            "resumes."
        ),
    ],
    model: Annotated[str, typer.Option(help=MODEL_HELP)] = DEFAULT_MODEL,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="N|native|area:N",
            help="Side of the centre square in pixels, native, or area:N to keep the aspect ratio at about N x N pixels "
            "(area:MIN-MAX keeps the size in between too).",
            show_default="the model's",
        ),
    ] = None,
    keep: Annotated[
        str,
        typer.Option(
            metavar="EXT,...",
            help="Files to carry over with an image: all, none, or extensions such as txt,json. All means every other "
            "member of a sample in a tar, and the .txt, .json, .caption and .cls beside a loose image.",
        ),
    ] = "all",
    image_column: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Column of parquet files that has the images.", show_default="the only one with bytes"
        ),
    ] = "",
    format: Annotated[
        str,
        typer.Option(
            metavar="|".join(SHARD_FORMATS),
            help="Format of the token shards: wds is a webdataset tar; parquet a table with a row per image, which needs "
            "pyarrow; megatron the .bin and .idx of Megatron-LM, with a .jsonl of keys, grids and captions beside.",
        ),
    ] = next(iter(SHARD_FORMATS)),
    batch_size: Annotated[
        int | None,
        typer.Option(
            parser=parse_batch_size,
            metavar="N|auto",
            help="Images per batch, of 256 x 256 where sizes differ; auto measures on a GPU with --fast which is fastest. It "
            "changes tokens only with --fast, where a folder keeps the size of its first call.",
            show_default="auto",
        ),
    ] = None,
    max_batch_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Tokens per batch, in place of --batch-size: where images differ in size, those of one size wait for each "
            "other until they have as many. It changes tokens only with --fast.",
            show_default="auto",
        ),
    ] = None,
    crops: Annotated[
        str,
        typer.Option(
            metavar="one|ten",
            help="Rows of an image: one, or ten: the corners and the middle of a larger square, and their mirror images, "
            "under keys such as KEY_top-left.",
        ),
    ] = "one",
    resize_ratio: Annotated[
        float | None,
        typer.Option(help="Side of that larger square, as a multiple of --size.", show_default="1.1, as in LlamaGen"),
    ] = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Two rows of an image: KEY_original, and its mirror image KEY_flipped.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Threads, or for a GPU processes, that read images; in each process of a launch.",
            show_default="one per core, divided among these",
        ),
    ] = None,
    devices: Annotated[
        str,
        typer.Option(
            metavar="D,...",
            help="auto (one GPU if there is one), all GPUs, or cpu, cuda, mps or a list such as cuda:0,cuda:1, with a process "
            "for each.",
        ),
    ] = "auto",
    fast: Annotated[
        bool, typer.Option("--fast", help="Use faster arithmetic, and say how many tokens stay the same.")
    ] = False,
    shard_size: Annotated[int, typer.Option(min=1, help="Images per shard, where the input is not a shard.")] = 1000,
    on_error: Annotated[
        OnError, typer.Option(help="At a broken image or shard: list it and go on, or stop.")
    ] = OnError.SKIP,
    retry_failures: Annotated[
        bool, typer.Option("--retry-failures", help="Redo the finished shards that have failures.")
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="First remove the shards, sidecars and pages that vistok wrote into --out."),
    ] = False,
    preview: Annotated[int, typer.Option(min=0, help="Write preview.png with the first N rows.")] = 0,
    report: Annotated[
        bool, typer.Option("--report", help="Write tokens.html about what is in --out, in some seconds more.")
    ] = False,
    engine: Annotated[
        str,
        typer.Option(
            metavar="|".join(ENGINES),
            help="Where the shards are made: local is this machine, or all processes of torchrun or accelerate launch.",
        ),
    ] = next(iter(ENGINES)),
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="An existing Ray cluster.", show_default="RAY_ADDRESS, or one is started here"
        ),
    ] = None,
    quiet: QuietOption = False,
    json: JsonOption = False,
    version: VersionOption = False,
    debug: DebugOption = False,
) -> None:
    """Turn images into shards of discrete tokens. Nothing is lost; broken images are listed.

    Exit code 0: every shard is done. 1: one is damaged, cannot be read or written, or no image could be used. 2: a wrong call.
    """
    with report_errors("tokenize-images", debug):
        from ..inputs.companions import parse_keep
        from ..inputs.views import parse_views
        from ..tokenize.run import Request, tokenize_collection

        request = Request(
            inputs=inputs,
            out=out,
            model=model,
            size=size,
            keep=parse_keep(keep),
            image_column=image_column,
            shard_format=format,
            batch_size=batch_size,
            max_batch_tokens=max_batch_tokens,
            views=parse_views(crops, resize_ratio, flip),
            workers=workers,
            devices=devices,
            fast=fast,
            shard_size=shard_size,
            stop_on_error=on_error is OnError.STOP,
            retry_failures=retry_failures,
            overwrite=overwrite,
            preview=preview,
            report=report,
            engine=engine,
            ray_address=ray_address,
            quiet=quiet,
        )
        summary = tokenize_collection(request, lambda line: say(line, aside=json))
        if summary is None:
            return
        if json:
            print_json(summary.as_dict())
        else:
            for line in summary.lines():
                say(line)
        if summary.has_failed:
            raise typer.Exit(WORK_FAILED)
