"""Taking a run up again: which of its settings may have changed, and where it left off."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch.optim import Optimizer

from ..tokenizer.weights import CONFIG_FILE as TOKENIZER_FILE
from .checkpoint import checkpoint_facts, checkpoint_step, good_checkpoint
from .config import parse_train_config
from .export import EXPORT
from .run import Run
from .states import load_states, processes_of

FIXED = (
    "run.seed",
    "model.",
    "adversarial.discriminator.",
    "optimizer.name",
    "optimizer.rules",
    "optimizer.scaling",
    "optimizer.codebook_rows",
    "optimizer.second_moment",
)
"""Settings, or beginnings of them, that a checkpoint depends on."""
FREE = (
    "run.out",
    "run.log_every",
    "run.save_every",
    "run.keep_checkpoints",
    "run.trackers",
    "data.workers",
    "data.on_error",
    "data.max_unreadable",
    "model.start_from",
)
"""Settings whose change says nothing."""


class Resumed(NamedTuple):
    """Where a run goes on."""

    step: int
    """Steps that have been taken."""
    logs: Mapping[str, Sequence[int]]
    """What each log held then."""
    warnings: list[str]


def resume(run: Run) -> Resumed:
    """Load the newest good checkpoint of the run folder, if there is one, into the objects of the run.

    Raises ValueError when the folder belongs to a run that cannot go on as this one.
    """
    folder = run.config.run.out
    checkpoint, warnings = good_checkpoint(folder / "checkpoints")
    if checkpoint is None:
        _check_export(folder)
        return Resumed(0, {}, warnings)
    step = checkpoint_step(checkpoint)
    _check_contents(checkpoint, run)
    facts = checkpoint_facts(checkpoint)
    warnings += _changes(facts["config"], run)
    before, now = processes_of(checkpoint), run.accelerator.num_processes
    if before != now:
        warnings.append(
            f"the number of processes was {before} and is {now}: the next line of the log begins at this step, and sums "
            "may round otherwise."
        )
    if step > run.config.run.steps:
        raise ValueError(
            f"run.steps is {run.config.run.steps}, but {checkpoint} has {step} steps behind it: give more, or another run.out."
        )
    # A checkpoint holds the settings of the optimizers as they were; those of the config are the ones that count.
    groups = [group for optimizer in _optimizers(run) for group in optimizer.param_groups]
    settings = [{name: value for name, value in group.items() if name != "params"} for group in groups]
    load_states(run.accelerator, checkpoint)
    loaded = [group for optimizer in _optimizers(run) for group in optimizer.param_groups]
    for group, values in zip(loaded, settings, strict=True):
        group.update(values)
    return Resumed(step, facts["logs"], warnings)


def _check_export(folder: Path) -> None:
    """Raise ValueError when a new run would write over the tokenizer of one that is over."""
    if (folder / EXPORT / TOKENIZER_FILE).exists():
        raise ValueError(
            f"{folder} holds the tokenizer of a run, in {EXPORT}, but no checkpoint to go on from: use another run.out, or "
            "move it away."
        )


def _optimizers(run: Run) -> list[Optimizer]:
    return [run.optimizer, *([run.adversary.optimizer] if run.adversary else [])]


def _check_contents(checkpoint: Path, run: Run) -> None:
    """Raise ValueError unless the checkpoint holds what the run needs, whatever became of its config."""
    if not processes_of(checkpoint):
        raise ValueError(f"{checkpoint} was written by another version of vistok: use another run.out.")
    # accelerate numbers optimizers in the order of their preparation: the second is the discriminator's.
    has = {"discriminator": "optimizer_1.bin", "scale of float16": "scaler.pt"}
    needs = {"discriminator": run.adversary is not None, "scale of float16": run.accelerator.scaler is not None}
    for what, file in has.items():
        if needs[what] != (checkpoint / file).exists():
            holds, needed = ("no", "one") if needs[what] else ("a", "none")
            raise ValueError(
                f"{checkpoint} holds {holds} {what}, but this run has {needed}: use another run.out, or the "
                "losses.adversarial and run.precision that it began with."
            )


def _changes(written: Mapping[str, Any], run: Run) -> list[str]:
    before, now = _flat(_completed(written)), _flat(run.config.model_dump(mode="json"))
    warnings = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if old == new or key.startswith(FREE):
            continue
        if key.startswith(FIXED) and (run.adversary or not key.startswith("adversarial.")):
            raise ValueError(
                f"{run.config.run.out} holds a run with {key} {old!r}, not {new!r}: use another run.out, or the value it "
                "began with."
            )
        warnings.append(f"this run began with {key} {old!r} and goes on with {new!r}.")
    return warnings


def _completed(written: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values of a config with the defaults of what has been added since."""
    try:
        return parse_train_config(written).model_dump(mode="json")
    except ValueError:  # a key has gone since
        return written


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
