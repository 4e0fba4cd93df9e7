"""Checkpoints of a run: written aside, renamed when whole, the newest ones kept."""

import shutil
from pathlib import Path

from accelerate import Accelerator

PREFIX = "step-"


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint of the latest step, or None when there is none."""
    return max(_checkpoints(folder), key=checkpoint_step, default=None)


def checkpoint_step(checkpoint: Path) -> int:
    """Return the number of steps that had been taken when `checkpoint` was written."""
    return int(checkpoint.name.removeprefix(PREFIX))


def save_checkpoint(accelerator: Accelerator, folder: Path, step: int, keep: int) -> None:
    """Write the state after `step` steps as `folder`/step-NNNNNNN; every process must call it."""
    checkpoint = folder / f"{PREFIX}{step:07d}"
    aside = folder / f"{checkpoint.name}.part"
    if accelerator.is_main_process and aside.exists():
        shutil.rmtree(aside)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(aside))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        if checkpoint.exists():
            shutil.rmtree(checkpoint)
        aside.rename(checkpoint)
        for old in sorted(_checkpoints(folder), key=checkpoint_step)[:-keep]:
            shutil.rmtree(old)


def _checkpoints(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.name.removeprefix(PREFIX).isdecimal()]
