"""finetune-tokenizer: a tokenizer folder and one's own images to a tokenizer that fits them."""

from pathlib import Path
from typing import Annotated

import typer

from ...cli.options import DebugOption, JsonOption, QuietOption, VersionOption, check_output_folder
from ...cli.user_errors import report_errors

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def finetune_tokenizer(
    model: Annotated[str, typer.Argument(help="Built-in name, tokenizer folder, or hf://owner/repo.")],
    data: Annotated[
        list[str],
        typer.Argument(metavar="DATA", help="Folders, image files, .tar shards, or .txt lists of these."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the result; the same call goes on where it left off.")],
    quantizer: Annotated[
        str | None, typer.Option(help="Swap the quantizer: vq, ema, simvq, fsq, ...", show_default=False)
    ] = None,
    codebook_size: Annotated[
        int | None, typer.Option(min=2, help="Codes of the new quantizer.", show_default=False)
    ] = None,
    dim: Annotated[
        int | None, typer.Option(min=1, help="Channels of the new quantizer.", show_default="the old one's")
    ] = None,
    levels: Annotated[
        str | None, typer.Option(help="Levels of a new fsq, such as 8,8,8,5.", show_default=False)
    ] = None,
    grow_to: Annotated[
        int | None, typer.Option(min=2, help="Grow the codebook to this many codes.", show_default=False)
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(help="Train only these parts, such as decoder, which keeps the tokens.", show_default="all"),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=0, help="Steps of the last stage, in which all parts learn.", show_default="1000, or 0 after a swap"
        ),
    ] = None,
    val: Annotated[
        list[str] | None, typer.Option(help="Images to judge on.", show_default="a tenth of DATA, held out")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any other key of finetune.yaml, such as decoder.steps=2000.",
            show_default=False,
        ),
    ] = None,
    quiet: QuietOption = False,
    json: JsonOption = False,
    version: VersionOption = False,
    debug: DebugOption = False,
) -> None:
    """Fine-tune a tokenizer on images: go on with it, swap its quantizer, grow its codebook, or adapt its decoder."""
    with report_errors("finetune-tokenizer", debug):
        check_output_folder(out)
        from ..finetune.call import Call, finetune_config, run_finetuning  # late: it takes torch, and seconds
        from ..logs.verbosity import Verbosity

        options = {"codebook_size": codebook_size, "dim": dim, "levels": levels}
        call = Call(model, data, out, quantizer, options, grow_to, only, steps, val or [], seed, set_ or [])
        run_finetuning(finetune_config(call), Verbosity(quiet, on_stderr=json), json)


def main() -> None:
    """Run the command."""
    app()
