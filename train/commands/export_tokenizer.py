"""export-tokenizer: a tokenizer out of a run folder, also while the run is active, or in the format of another program."""

from pathlib import Path
from typing import Annotated

import typer

from ...cli.options import DebugOption, JsonOption, VersionOption, check_output_folder
from ...cli.printing import print_json, say
from ...cli.user_errors import report_errors
from ...tokenizer.wording import pluralize

app = typer.Typer(add_completion=False, rich_markup_mode=None)
FOLDER = "folder"


@app.command()
def export_tokenizer(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN_FOLDER|MODEL",
            help="Folder that train-tokenizer writes to; for another format than folder a built-in or public name, a tokenizer "
            "folder, or hf://owner/repo.",
            show_default=False,
        ),
    ],
    format: Annotated[
        str,
        typer.Option(
            metavar="FORMAT",
            help="folder, the tokenizer folder that all commands take; onnx; torch, archives of torch.export; diffusers, a "
            "VQModel.",
        ),
    ] = FOLDER,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the tokenizer; required while the run is active, and a new one for other formats than folder.",
            show_default="RUN_FOLDER/export",
        ),
    ] = None,
    checkpoint: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="STEP", help="Step of the checkpoint of a run.", show_default="the newest good one"
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DATA",
            help="Photos to check the files of other formats on: an image, folder, .tar shard or .txt list, up to 16 images.",
            show_default="synthetic photos",
        ),
    ] = None,
    json: JsonOption = False,
    version: VersionOption = False,
    debug: DebugOption = False,
) -> None:
    """Export the EMA weights of a run as a tokenizer folder, or a tokenizer in the format of another program.

    A run is not disturbed. Other formats hold the plain decoder alone. Their files are checked: the exit code is 1, and
    nothing is written, if less than 99 % of their tokens on photos are those of vistok in float32.
    """
    with report_errors("export-tokenizer", debug):
        if out is not None:
            check_output_folder(out)
        if format == FOLDER:
            if data:
                raise ValueError(
                    "--data is for the check of other formats than folder: leave it out, or give --format."
                )
            _export_run(Path(source), out, checkpoint, json)
            return
        if checkpoint is not None:
            raise ValueError(
                f"--checkpoint belongs to a run, but --format {format} takes a tokenizer: export the run as a folder first."
            )
        if out is None:
            raise ValueError(f"--format {format} needs --out: give a new folder.")
        _export_model(source, format, out, data or [], json)


def _export_run(run: Path, out: Path | None, checkpoint: int | None, json: bool) -> None:
    from ..export_run import export_run  # late: importing torch takes seconds

    done = export_run(run, out, checkpoint)
    for warning in done.warnings:
        say(f"warning: {warning}", aside=True)
    if json:
        print_json({"tokenizer": done.folder, "step": done.step})
    else:
        say(f"tokenizer   {done.folder} (after {pluralize(done.step, 'step')})")


def _export_model(model: str, form: str, out: Path, data: list[str], json: bool) -> None:
    from ...pretrained.exporters.export_model import export_model  # late: importing torch takes seconds

    done = export_model(model, form, out, data)
    found = done.agreement
    if json:
        print_json(
            {
                "files": [done.folder / name for name in done.files.values()],
                "photos": done.photos,
                "tokens": found.tokens,
                "same": found.same,
                "max_pixel_difference": found.pixel_difference,
                "left_out": done.left_out,
            }
        )
        return
    say(f"{form:<11} {done.folder}: {', '.join(done.files.values())}")
    say(f"tokens      {found.same:,} of {found.tokens:,} ({found.fraction:.3%}) as in float32, on {done.photos}")
    if done.left_out:
        say(f"decoder     the plain one alone; left out: {', '.join(done.left_out)}")
    if found.pixel_difference is not None:
        say(f"pixels      differ by {found.pixel_difference * 255:.2g} of 255 grey levels at most")
