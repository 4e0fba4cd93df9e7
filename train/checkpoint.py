"""Checkpoints of a run: written aside, sealed, renamed when whole, the newest ones kept.

A checkpoint is good if and only if its seal is there and every file has the size and checksum that the seal says.
"""

import errno
import json
import os
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator

PREFIX = "step-"
PROCESS_FILE = "process-{}.pt"
SEAL_FILE = "seal.json"
CHUNK = 1 << 20


class HasOwnState(Protocol):
    """An object of which a part is that of its process alone, such as sums that are not yet reduced."""

    def own_state_dict(self) -> dict[str, Any]:
        """Return that part."""

    def load_own_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from it."""


def keep_of_each_process(accelerator: Accelerator, objects: Sequence[HasOwnState]) -> None:
    """Let checkpoints hold what differs between processes, in a file of each process.

    With another number of processes than wrote them, none of these files is loaded, by any process.
    """

    def save(_models: Any, _weights: Any, folder: str) -> None:
        states = [each.own_state_dict() for each in objects]
        torch.save(states, Path(folder) / PROCESS_FILE.format(accelerator.process_index))

    def load(_models: Any, folder: str) -> None:
        if processes_of(Path(folder)) != accelerator.num_processes:
            return
        path = Path(folder) / PROCESS_FILE.format(accelerator.process_index)
        states = torch.load(path, map_location="cpu", weights_only=True)
        for each, state in zip(objects, states, strict=True):
            each.load_own_state_dict(state)

    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)


def processes_of(checkpoint: Path) -> int:
    """Return how many processes wrote a checkpoint."""
    return len(list(checkpoint.glob(PROCESS_FILE.format("*"))))


def good_checkpoint(folder: Path) -> tuple[Path | None, list[str]]:
    """Return the newest good checkpoint, or None, and a sentence for each newer one that is broken."""
    warnings: list[str] = []
    for checkpoint in sorted(_checkpoints(folder), key=checkpoint_step, reverse=True):
        problem = _problem(checkpoint)
        if problem is None:
            return checkpoint, warnings
        warnings.append(f"{checkpoint} is passed over: {problem}.")
    return None, warnings


def checkpoint_step(checkpoint: Path) -> int:
    """Return the number of steps that had been taken when `checkpoint` was written."""
    return int(checkpoint.name.removeprefix(PREFIX))


def save_checkpoint(accelerator: Accelerator, folder: Path, step: int, keep: int) -> None:
    """Write the state after `step` steps as `folder`/step-NNNNNNN; every process must call it.

    Raises OSError when the disk refuses; nothing half-written stays.
    """
    checkpoint = folder / f"{PREFIX}{step:07d}"
    aside = folder / f"{checkpoint.name}.part"
    if accelerator.is_main_process:
        shutil.rmtree(aside, ignore_errors=True)
    accelerator.wait_for_everyone()
    try:
        accelerator.save_state(str(aside))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            _seal(aside)
    except Exception as error:  # torch and safetensors raise errors of their own when a disk is full
        full = os.strerror(errno.ENOSPC) in str(error) or shutil.disk_usage(folder.parent).free < CHUNK
        if accelerator.is_main_process:
            shutil.rmtree(aside, ignore_errors=True)
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(checkpoint)) from error
        raise
    if accelerator.is_main_process:
        if checkpoint.exists():
            shutil.rmtree(checkpoint)
        aside.rename(checkpoint)
        _flush(folder)
        for old in sorted(_checkpoints(folder), key=checkpoint_step)[:-keep]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def _checkpoints(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.name.removeprefix(PREFIX).isdecimal()]


def _seal(checkpoint: Path) -> None:
    files = {}
    for path in _files(checkpoint):
        _flush(path)
        files[path.relative_to(checkpoint).as_posix()] = [path.stat().st_size, _checksum(path)]
    seal = checkpoint / SEAL_FILE
    seal.write_text(json.dumps(files))
    _flush(seal)


def _problem(checkpoint: Path) -> str | None:
    try:
        files = json.loads((checkpoint / SEAL_FILE).read_text())
        for name, (size, checksum) in files.items():
            path = checkpoint / name
            if path.stat().st_size != size or _checksum(path) != checksum:
                return f"{name} is not as it was written"
    except (OSError, ValueError, AttributeError, TypeError):
        return f"its {SEAL_FILE}, or a file that it names, is missing or damaged"
    return None


def _files(checkpoint: Path) -> list[Path]:
    return sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != SEAL_FILE)


def _checksum(path: Path) -> int:
    value = 0
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            value = zlib.crc32(chunk, value)
    return value


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
