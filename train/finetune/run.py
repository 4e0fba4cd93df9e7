"""Runs a fine-tuning in its folder: stages, export, evaluation and report."""

from collections.abc import Callable
from pathlib import Path

from rich.table import Table

from ...cli.printing import print_json, say
from ...evaluation.reference_metrics import ReferenceMetrics
from ...tokenizer.folder.save_load import LoadedTokenizer, load_tokenizer, save_tokenizer
from ...tokenizer.folder_lock import hold_folder
from ..config import Part, TrainConfig, parse_train_config
from ..export import EXPORT, export_with
from ..launcher import this_process
from ..logs.run_log import Verbosity
from ..loop import train
from ..losses.terms import quantizer_weights
from ..outputs import best_effort
from ..report import REPORT_FILE
from .compare import compare
from .compare_decoders import compare_decoders
from .config import FinetuneConfig, StageConfig
from .decoder_result import export_decoder, save_decoder_card
from .decoder_stages import run_decoder_stages
from .fit_stage import fit_stage
from .page import write_report
from .prepare import Finetuning, prepare
from .stage_runs import data_section, is_done, run_section
from .stored_config import STAGES_FOLDER, store_config


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
        after = _exported(run, run_stages(run))
        if config.generative:
            compared = compare_decoders(run, config.generative, after, reference)
            save_decoder_card(run, config.generative, after, compared)
        else:
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


def run_stages(run: Finetuning) -> Path:
    """Run the stages that are not done, and return the folder of the final tokenizer."""
    config, folder = run.config, run.folder
    if config.generative:
        return run_decoder_stages(run)
    store_config(config)
    stages = config.out / STAGES_FOLDER
    if config.changes_quantizer:
        folder = fit_stage(run, stages / "1-quantizer")
        folder = _run_stage(run, config.decoder, ["decoder"], folder, stages / "2-decoder")
    return _run_stage(run, config.joint, config.train, folder, stages / "3-joint")


def _run_stage(run: Finetuning, stage: StageConfig, parts: list[Part], start: Path, out: Path) -> Path:
    """Train the parts if the stage has steps and is not done; return the folder of the tokenizer after it."""
    if not stage.steps:
        return start
    if not is_done(out, stage.steps):
        run.tell(f"stage {out.name}: training {', '.join(parts)} for {stage.steps} steps")
        train(_train_config(run, stage, parts, start, out), run.verbosity, run.images)
    return out / EXPORT


def _train_config(run: Finetuning, stage: StageConfig, parts: list[Part], start: Path, out: Path) -> TrainConfig:
    config, steps, before = run.config, stage.steps, load_tokenizer(start)
    own_weights = quantizer_weights(before.model.quantizer, commitment=0.25) if "quantizer" in parts else {}
    return parse_train_config(
        {
            "run": run_section(run, out, steps) | {"export_training_state": True},
            "data": data_section(run, before),
            "model": {
                "architecture": before.config.architecture.model_dump(),
                "quantizer": before.config.quantizer.model_dump(),
                "preprocessing": run.before.config.preprocessing.model_dump(),
                "train": parts,
                "init_from": start,
            },
            "losses": config.losses | own_weights,
            "optimizer": {"name": "muon", "lr": stage.lr, "warmup": min(50, steps // 10)},
        }
    )


def _exported(run: Finetuning, folder: Path) -> LoadedTokenizer:
    """Write the tokenizer of `folder`, without training state, as the result, and load it from there."""
    if run.config.generative:
        return export_decoder(run, run.config.generative, folder)
    model, config = load_tokenizer(folder)
    result, card, origin = run.config.out / EXPORT, _card(run), run.before.config.origin
    derived = origin.of_derived() if origin else None
    settings = config.architecture, run.before.config.preprocessing, card
    export_with(lambda path: save_tokenizer(path, model, *settings, origin=derived), result)
    return load_tokenizer(result)


def _card(run: Finetuning) -> str:
    config, note = run.config, run.split
    changes = [f"the quantizer was replaced by {config.quantizer.name}"] if config.quantizer else []
    changes += [f"the codebook grew to {config.grow_to:,} codes"] if config.grow_to else []
    changes += [f"{', '.join(config.train)} trained for {config.joint.steps} steps"] if config.joint.steps else []
    sources = "\n".join(f"- {path}" for path in config.data.train)
    origin = run.before.config.origin
    licence = f"The original weights are for {origin.source}; their licence: {origin.licence}.\n\n" if origin else ""
    return f"""# {config.out.resolve().name}

A visual tokenizer, fine-tuned from {config.model}: {"; ".join(changes)}.

{licence}Images:

{sources}

{note[0].upper()}{note[1:]}; the figures are in ../metrics.json.
"""
