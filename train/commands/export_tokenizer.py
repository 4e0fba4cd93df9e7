"""export-tokenizer: export a tokenizer from a run folder, also while the run is active."""

from pathlib import Path
from typing import Annotated

import typer

from ...cli.options import DebugOption, JsonOption, VersionOption, check_output_folder
from ...cli.printing import print_json, say
from ...cli.user_errors import report_errors
from ...tokenizer.wording import pluralize

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def export_tokenizer(
    run: Annotated[Path, typer.Argument(metavar="RUN_FOLDER", help="Folder that train-tokenizer writes to.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the tokenizer; required while the run is active.", show_default="RUN_FOLDER/export"
        ),
    ] = None,
    checkpoint: Annotated[
        int | None,
        typer.Option(min=1, metavar="STEP", help="Step of the checkpoint.", show_default="the newest good one"),
    ] = None,
    json: JsonOption = False,
    version: VersionOption = False,
    debug: DebugOption = False,
) -> None:
    """Export the EMA weights of a checkpoint as a tokenizer folder, without disturbing the run."""
    with report_errors("export-tokenizer", debug):
        if out is not None:
            check_output_folder(out)
        from ..export_run import export_run  # late: importing torch takes seconds

        done = export_run(run, out, checkpoint)
        for warning in done.warnings:
            say(f"warning: {warning}", aside=True)
        if json:
            print_json({"tokenizer": done.folder, "step": done.step})
        else:
            say(f"tokenizer   {done.folder} (after {pluralize(done.step, 'step')})")
