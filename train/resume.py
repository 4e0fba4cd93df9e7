"""Resumes a run: checks that the folder is its own, and loads the newest good checkpoint."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..tokenizer.folder.config_json import CONFIG_FILE as TOKENIZER_FILE
from ..tokenizer.folder.decoder_digest import decoder_digest
from .allowed_changes import changes
from .checkpoints.checkpoint import checkpoint_facts, checkpoint_step, good_checkpoint
from .checkpoints.states import load_states, processes_of
from .config import CONFIG_FILE, TrainConfig, parse_written_config
from .config_file import yaml_values
from .export import EXPORT, exported_step
from .launcher import seed_noise
from .run import Run
from .warm_start import check_same_tokenizer


class Resumed(NamedTuple):
    """Where a run starts."""

    step: int
    """Steps so far."""
    logs: Mapping[str, Sequence[int]]
    """State of each log at that step, as `RunLog.flush` returned it."""
    warnings: list[str]


def resume(run: Run) -> Resumed:
    """Load the newest good checkpoint of the run folder, if there is one, into the objects of the run.

    Raises ValueError when the folder belongs to another run.
    """
    config = run.config
    checkpoint, warnings = good_checkpoint(config.run.out / "checkpoints")
    if checkpoint is None:
        return Resumed(0, {}, warnings + _check_folder(run))
    step = checkpoint_step(checkpoint)
    if not processes_of(checkpoint):
        raise ValueError(f"{checkpoint} was written by another version of vistok: use another run.out.")
    facts = checkpoint_facts(checkpoint)
    _check_contents(checkpoint, facts, run)
    warnings += changes(parse_written_config(facts["config"], checkpoint, "use another run.out"), config)
    if step > config.run.steps:
        raise ValueError(
            f"run.steps is {config.run.steps}, but {checkpoint} is of step {step}: set more steps, or another run.out."
        )
    # A checkpoint also holds settings of the optimizers, but those of the config count.
    settings = [{name: value for name, value in group.items() if name != "params"} for group in run.parameter_groups]
    rank = run.accelerator.process_index
    seed_noise(config.run.seed, rank, step)  # for devices whose generators are not in the checkpoint
    digest = decoder_digest(run.model) if run.recipe else ""
    load_states(run.accelerator, checkpoint)
    if run.recipe:
        check_same_tokenizer(digest, run.model, config.model)
    for group, values in zip(run.parameter_groups, settings, strict=True):
        group.update(values)
    if run.scale:
        run.scale.set(facts["scale"])
    before, now = processes_of(checkpoint), run.accelerator.num_processes
    if before != now:
        seed_noise(config.run.seed, rank, step)
        warnings.append(
            f"the number of processes was {before} and is {now}: the next line of the log covers only the steps from here, "
            "noise is seeded again, and sums may round differently."
        )
    return Resumed(step, facts["logs"], warnings)


def _check_folder(run: Run) -> list[str]:
    """Return warnings about a folder without a checkpoint; raise ValueError when this run may not start in it.

    It may if this run was stopped there before its first checkpoint. An export of a later step is all that remains of a
    run, and would be overwritten.
    """
    folder = run.config.run.out
    written, export = _written_config(folder / CONFIG_FILE), folder / EXPORT
    warnings = changes(written, run.config) if written else []
    if (export / TOKENIZER_FILE).exists():
        step = exported_step(export, run.decoder_name)
        if step is None or written is None or step >= min(written.run.save_every, written.run.steps):
            raise ValueError(
                f"{folder} holds the tokenizer of a run, in {EXPORT}, but no checkpoint to resume from: use another "
                "run.out, or move it away."
            )
    return warnings


def _written_config(path: Path) -> TrainConfig | None:
    """Return the config in a run folder; None if it is missing or damaged."""
    try:
        values = yaml_values(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return parse_written_config(values, path, "use another run.out") if isinstance(values, dict) else None


def _check_contents(checkpoint: Path, facts: Mapping[str, Any], run: Run) -> None:
    """Raise ValueError unless the checkpoint holds exactly what the run needs."""
    # accelerate numbers optimizers in the order of their preparation: the second is the opponent's.
    found = facts.get("opponent", "discriminator") if (checkpoint / "optimizer_1.bin").exists() else None
    scale = "scale of float16"
    holds = {found, scale if (checkpoint / "scaler.pt").exists() else None}
    needs = {run.opponent.name if run.opponent else None, scale if run.accelerator.scaler is not None else None}
    for what in filter(None, sorted(holds ^ needs, key=str)):
        held, needed = ("a", "none") if what in holds else ("no", "one")
        raise ValueError(
            f"{checkpoint} holds {held} {what}, but this run has {needed}: use another run.out, or the "
            "losses.adversarial, decoder.recipe and run.precision that it started with."
        )
