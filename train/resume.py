"""Taking a run up again: which of its settings may have changed, and where it left off."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from .checkpoint import checkpoint_step, good_checkpoint
from .config import CONFIG_FILE, TrainConfig
from .run import Run

FIXED = ("run.seed", "model.", "adversarial.discriminator.", "optimizer.name", "optimizer.rules", "optimizer.scaling")
"""Settings, or beginnings of them, that a checkpoint depends on."""
FREE = (
    "run.out",
    "run.log_every",
    "run.save_every",
    "run.keep_checkpoints",
    "run.trackers",
    "data.workers",
    "model.start_from",
)
"""Settings whose change says nothing."""


class Resumed(NamedTuple):
    """Where a run goes on."""

    step: int
    """Steps that have been taken."""
    warnings: list[str]


def resume(run: Run) -> Resumed:
    """Load the newest good checkpoint of the run folder, if there is one, into the objects of the run.

    Raises ValueError when the folder belongs to a run that cannot go on as this one.
    """
    folder = run.config.run.out
    checkpoint, warnings = good_checkpoint(folder / "checkpoints")
    if checkpoint is None:
        return Resumed(0, warnings)
    step = checkpoint_step(checkpoint)
    warnings += _changes(folder / CONFIG_FILE, run.config)
    if step > run.config.run.steps:
        raise ValueError(
            f"run.steps is {run.config.run.steps}, but {checkpoint} has {step} steps behind it: give more, or another run.out."
        )
    run.accelerator.load_state(str(checkpoint))
    return Resumed(step, warnings)


def _changes(path: Path, config: TrainConfig) -> list[str]:
    if not path.is_file():
        return []
    before, now = _flat(yaml.safe_load(path.read_text())), _flat(config.model_dump(mode="json"))
    warnings = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if old == new or key.startswith(FREE):
            continue
        if key.startswith(FIXED):
            raise ValueError(
                f"{path.parent} holds a run with {key} {old!r}, not {new!r}: use another run.out, or the value it began with."
            )
        warnings.append(f"this run began with {key} {old!r} and goes on with {new!r}.")
    return warnings


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
