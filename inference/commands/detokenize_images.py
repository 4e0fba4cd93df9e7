"""detokenize-images: token shards back to images."""

from pathlib import Path
from typing import Annotated

import typer

from ...cli.options import (
    DebugOption,
    DecoderOption,
    DecodingBatchOption,
    JsonOption,
    QuietOption,
    SeedOption,
    VersionOption,
)
from ...cli.printing import print_json, say
from ...cli.user_errors import WORK_FAILED, report_errors
from ...pretrained.find import MODEL_HELP

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def detokenize_images(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="SHARD_OR_DIR",
            help="Token shards, or folders that tokenize-images wrote, also as URLs.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the images, KEY.png each; the same call resumes.")],
    model: Annotated[
        str | None,
        typer.Option(help=MODEL_HELP, show_default="the one in manifest.json"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto (cuda if there is one), cpu, cuda or mps.")] = "auto",
    decoder: DecoderOption = "plain",
    seed: SeedOption = 0,
    batch_size: DecodingBatchOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace images that already exist.")] = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
    version: VersionOption = False,
    debug: DebugOption = False,
) -> None:
    """Turn token shards back into images, with the tokenizer that made them.

    An extra decoder paints what the tokens left out: an image then depends on its tokens and the seed alone.

    Exit code 0: every image is back. 1: a shard or an image is damaged, and named. 2: a wrong call.
    """
    with report_errors("detokenize-images", debug):
        from ..arithmetic import DecoderChoice
        from ..detokenize.run import detokenize

        chosen = DecoderChoice(decoder, seed)
        outcome = detokenize(inputs, out, model, device, batch_size, overwrite, quiet, chosen)
        if json:
            print_json(outcome._asdict())
        else:
            for line in outcome.lines():
                say(line)
        if outcome.has_failed:
            raise typer.Exit(WORK_FAILED)
