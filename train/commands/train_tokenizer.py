"""train-tokenizer: one config, one run folder."""

import shutil
from typing import Annotated

import typer

from ...cli.options import DebugOption, JsonOption, QuietOption, VersionOption
from ...cli.printing import print_json, say
from ...cli.user_errors import report_errors

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def train_tokenizer(
    context: typer.Context,
    config: Annotated[
        str | None,
        typer.Argument(
            metavar="CONFIG",
            help="YAML file of the run, or the name of a shipped one, such as photo-f8; with --keys, a section.",
            show_default=False,
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="SECTION.KEY=VALUE", help="Values that replace the file's, such as optimizer.lr=1e-3."),
    ] = None,
    keys: Annotated[
        bool,
        typer.Option("--keys", help="Print the keys of a config, or of one section, such as optimizer, and stop."),
    ] = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
    version: VersionOption = False,
    debug: DebugOption = False,
) -> None:
    """Train a tokenizer, or resume the run if its folder has checkpoints."""
    if config is None and not keys:
        context.fail("Missing argument 'CONFIG'.")
    with report_errors("train-tokenizer", debug):
        if keys:
            from ..config import TrainConfig
            from ..config_reference import keys_text

            print(keys_text(TrainConfig, config or "", shutil.get_terminal_size().columns), flush=True)
            return
        assert config is not None
        from accelerate import PartialState  # late: importing torch takes seconds

        from ..batch_advice import batch_advice
        from ..config_file import read_config
        from ..logs.run_log import Verbosity
        from ..loop import train
        from ..report import REPORT_FILE, last_values

        settings = read_config(config, overrides or [])
        folder = train(settings, Verbosity(quiet, on_stderr=json))
        if not PartialState().is_main_process:
            return
        page = folder.parent / REPORT_FILE
        if json:
            print_json({"tokenizer": folder, "report": page, **last_values(folder.parent)})
        else:
            say(f"tokenizer   {folder}")
            say(f"report      {page}")
            advice = batch_advice(last_values(folder.parent), settings)
            if advice:
                say(f"batch       {advice.sentence}")
                say(f"rates       for another batch size add {advice.overrides}")
