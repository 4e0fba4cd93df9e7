"""train-tokenizer: one config, one run folder."""

from pathlib import Path
from typing import Annotated

import typer
from accelerate import PartialState

from ..terminal import one_sentence
from .config import read_config
from .loop import train
from .run_report import REPORT_FILE

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def train_tokenizer(
    config: Annotated[
        Path, typer.Argument(help="YAML file of the run, such as configs/debug.yaml.", show_default=False)
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SECTION.KEY=VALUE]...", help="Values that replace the file's, such as optimizer.lr=1e-3."
        ),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Train a tokenizer; the same command on a run folder with checkpoints goes on from the newest one."""
    with one_sentence("train-tokenizer", debug):
        folder = train(read_config(config, overrides or []))
        if PartialState().is_main_process:
            print(f"tokenizer   {folder}")
            print(f"report      {folder.parent / REPORT_FILE}")


def main() -> None:
    """Run the command."""
    app()
