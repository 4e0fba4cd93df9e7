"""Runs a fine-tuning in its folder: stages, export, evaluation and report."""

from collections.abc import Callable
from pathlib import Path

from rich.table import Table

from ...cli.printing import print_json, say
from ...evaluation.reference_metrics import ReferenceMetrics
from ...tokenizer.folder.save_load import LoadedTokenizer, load_tokenizer, save_tokenizer
from ...tokenizer.folder_lock import hold_folder
from ..export import EXPORT, export_with
from ..launcher import this_process
from ..logs.run_log import Verbosity
from ..outputs import best_effort
from ..report import REPORT_FILE
from .compare import compare, write_report
from .config import FinetuneConfig
from .prepare import Finetuning, prepare
from .stages import run_stages


def run_finetuning(
    config: FinetuneConfig, reference: Callable[[], ReferenceMetrics], verbosity: Verbosity, as_json: bool
) -> None:
    """Run a fine-tuning, or resume a stopped one, and print the figures before and after.

    Raises FolderBusyError if another command writes to its folder, ValueError for a wrong call, WorkFailedError, and OSError.
    """
    processes = this_process(config.precision).num_processes
    if processes > 1:
        raise ValueError(
            f"finetune-tokenizer runs in one process, but {processes} were launched: start it without a launcher."
        )
    with hold_folder(config.out, "finetune-tokenizer"):
        run = prepare(config, verbosity)
        after = _export(run, run_stages(run))
        compared = compare(run, after, reference)
        page = config.out / REPORT_FILE
        with best_effort("the report", run.warn):
            write_report(run, compared)
    if as_json:
        print_json({"tokenizer": config.out / EXPORT, "report": page, **compared.metrics})
        return
    table = Table(*compared.table.header)
    for row in compared.table.rows:
        table.add_row(*row)
    verbosity.console().print(table)
    for note in compared.notes:
        run.tell(note)
    say(f"tokenizer   {config.out / EXPORT}")
    say(f"report      {page}")


def _export(run: Finetuning, folder: Path) -> LoadedTokenizer:
    """Write the tokenizer of `folder`, without training state, as the result, and load it from there."""
    model, config = load_tokenizer(folder)
    result, card = run.config.out / EXPORT, _card(run)
    export_with(lambda path: save_tokenizer(path, model, config.architecture, config.preprocessing, card), result)
    return load_tokenizer(result)


def _card(run: Finetuning) -> str:
    config, note = run.config, run.split
    changes = [f"the quantizer was replaced by {config.quantizer.name}"] if config.quantizer else []
    changes += [f"the codebook grew to {config.grow_to:,} codes"] if config.grow_to else []
    changes += [f"{', '.join(config.train)} trained for {config.joint.steps} steps"] if config.joint.steps else []
    sources = "\n".join(f"- {path}" for path in config.data.train)
    return f"""# {config.out.resolve().name}

A visual tokenizer, fine-tuned from {config.model}: {"; ".join(changes)}.

Images:

{sources}

{note[0].upper()}{note[1:]}; the figures are in ../metrics.json.
"""
