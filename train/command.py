"""train-tokenizer: one config, one run folder."""

import sys
from pathlib import Path

import typer

from .config import read_config
from .loop import train

app = typer.Typer(add_completion=False)


@app.command()
def train_tokenizer(
    config: Path = typer.Argument(..., help="YAML file of the run, such as configs/debug.yaml."),
    overrides: list[str] = typer.Argument(None, metavar="[SECTION.KEY=VALUE]...", help="Values that replace the file's."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Train a tokenizer; the same command on a run folder with checkpoints goes on from the newest one."""
    try:
        train(read_config(config, overrides or []))
    except ValueError as error:
        if debug:
            raise
        print(f"train-tokenizer: {error}", file=sys.stderr)
        raise typer.Exit(2) from None


def main() -> None:
    app()
