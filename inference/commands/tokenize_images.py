"""tokenize-images: images to token shards."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ...cli.options import DebugOption, JsonOption, QuietOption, VersionOption
from ...cli.printing import print_json, say
from ...cli.user_errors import WORK_FAILED, report_errors
from ...pretrained.find import DEFAULT_MODEL

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Format(str, Enum):
    """Layout of the token shards."""

    WDS = "wds"


class OnError(str, Enum):
    """What a broken image does."""

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
            metavar="INPUT",
            help="Image files, folders (walked), webdataset .tar shards (photos-{0000..0009}.tar), or .txt lists of these, "
            "one a line, relative to the working directory; a line that begins with # is a comment.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the token shards; the same call goes on where it left off.")],
    model: Annotated[str, typer.Option(help="Built-in name, tokenizer folder, or hf://owner/repo.")] = DEFAULT_MODEL,
    size: Annotated[
        str | None, typer.Option(help="Side of the centre square in pixels, or native.", show_default="the model's")
    ] = None,
    keep: Annotated[
        str,
        typer.Option(
            metavar="EXT,...",
            help="Files that are carried over with an image: all, none, or extensions such as txt,json. All means every "
            "other member of a sample in a tar, and beside a loose image its .txt, .json, .caption and .cls.",
        ),
    ] = "all",
    format: Annotated[Format, typer.Option(help="wds: webdataset .tar shards.")] = Format.WDS,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Images encoded at a time; changes no token but with --fast, where a folder keeps the one it began with.",
            show_default="what suits the device",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads that read images.", show_default="one a core")
    ] = None,
    device: Annotated[str, typer.Option(help="auto (cuda if there is one), cpu or cuda.")] = "auto",
    fast: Annotated[
        bool, typer.Option("--fast", help="Faster arithmetic; says how many tokens stay the same.")
    ] = False,
    shard_size: Annotated[int, typer.Option(min=1, help="Images in a shard, where the input is not a shard.")] = 1000,
    on_error: Annotated[
        OnError, typer.Option(help="A broken image or shard: note it and go on, or stop.")
    ] = OnError.SKIP,
    retry_failures: Annotated[
        bool, typer.Option("--retry-failures", help="Try again what failed in shards that are done.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove everything that vistok wrote into --out first.")
    ] = False,
    preview: Annotated[int, typer.Option(min=0, help="Write preview.png with the first N images.")] = 0,
    engine: Annotated[Engine, typer.Option(help="local: this machine.")] = Engine.LOCAL,
    quiet: QuietOption = False,
    json: JsonOption = False,
    version: VersionOption = False,
    debug: DebugOption = False,
) -> None:
    """Turn images into shards of discrete tokens; nothing is lost, and broken images are listed.

    Exit code 0: every shard is done. 1: a shard is damaged or cannot be read, or no image could be used. 2: a wrong call.
    """
    with report_errors("tokenize-images", debug):
        from ..inputs.keep import parse_keep
        from ..tokenize.call import Request, tokenize_collection

        request = Request(
            inputs=inputs,
            out=out,
            model=model,
            size=size,
            keep=parse_keep(keep),
            batch_size=batch_size,
            workers=workers,
            device=device,
            fast=fast,
            shard_size=shard_size,
            stop_on_error=on_error is OnError.STOP,
            retry_failures=retry_failures,
            overwrite=overwrite,
            preview=preview,
            quiet=quiet,
        )
        summary = tokenize_collection(request, lambda line: say(line, aside=json))
        if json:
            print_json(summary.facts())
        else:
            for line in summary.lines():
                say(line)
        if summary.has_failed:
            raise typer.Exit(WORK_FAILED)


def main() -> None:
    """Run the command."""
    app()
