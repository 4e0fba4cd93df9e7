"""unpack-sequences: packed sequences back to images and captions."""

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
def unpack_sequences(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="Folder or URL that pack-sequences wrote.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder for KEY.png and KEY.txt of each document; the same call resumes.")],
    text_tokenizer: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|FOLDER|NAME",
            help="As given to pack-sequences.",
            show_default="tokenizer.json in DIR, else the one in manifest.json",
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help=MODEL_HELP, show_default="the one in manifest.json")] = None,
    device: Annotated[str, typer.Option(help="auto (cuda if there is one), cpu, cuda or mps.")] = "auto",
    decoder: DecoderOption = "plain",
    seed: SeedOption = 0,
    batch_size: DecodingBatchOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that already exist.")] = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
    version: VersionOption = False,
    debug: DebugOption = False,
) -> None:
    """Turn packed sequences back into images and captions, from their ids alone.

    An extra decoder paints what the tokens left out: an image then depends on its tokens and the seed alone.

    The tokens of each image are compared with those that were packed, and its text with the text that was packed. Exit code
    0: every document is back. 1: a shard or a document is damaged, and named. 2: a wrong call.
    """
    with report_errors("unpack-sequences", debug):
        from ..arithmetic import DecoderChoice
        from ..unpack.run import unpack

        chosen = DecoderChoice(decoder, seed)
        outcome = unpack(folder, out, text_tokenizer, model, device, batch_size, overwrite, quiet, chosen)
        if json:
            print_json(outcome._asdict())
        else:
            for line in outcome.lines():
                say(line)
        if outcome.has_failed:
            raise typer.Exit(WORK_FAILED)
