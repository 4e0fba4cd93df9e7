"""Checkpoints of a run: written to a temporary folder, sealed, and renamed; the newest ones are kept."""

import errno
import json
import os
import re
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from ...tokenizer.system import flush_path

PREFIX = "step-"
ASIDE = ".part"
FACTS_FILE = "facts.json"
SEAL_FILE = "seal.json"
CHUNK = 1 << 20


def good_checkpoint(folder: Path) -> tuple[Path | None, list[str]]:
    """Return the newest good checkpoint in `folder`, if any, and a warning about each newer one that is broken.

    A good one has a seal, and every file has the size and the checksum in it. Raises OSError when the folder or a checkpoint
    cannot be read, which does not mean that it is broken.
    """
    warnings: list[str] = []
    for checkpoint in reversed(_checkpoints(folder)):
        problem = _problem(checkpoint)
        if problem is None:
            return checkpoint, warnings
        warnings.append(f"{checkpoint} is skipped: {problem}.")
    return None, warnings


def good_checkpoints(folder: Path) -> list[Path]:
    """Return all good checkpoints, oldest first; raise OSError as `good_checkpoint`."""
    return [path for path in _checkpoints(folder) if _problem(path) is None]


def checkpoint_step(checkpoint: Path) -> int:
    """Return the number of steps before `checkpoint`."""
    return int(checkpoint.name.removeprefix(PREFIX))


def checkpoint_facts(checkpoint: Path) -> dict[str, Any]:
    """Return the facts that were saved with a good checkpoint."""
    return json.loads((checkpoint / FACTS_FILE).read_text())


def save_checkpoint(accelerator: Accelerator, folder: Path, step: int, keep: int, facts: Mapping[str, Any]) -> None:
    """Save the state after `step` steps, with `facts`, as `folder`/step-NNNNNNN; every process must call it.

    Raises OSError if the disk is full or fails; no partial checkpoint stays.
    """
    checkpoint = folder / f"{PREFIX}{step:07d}"
    aside = folder / f"{checkpoint.name}{ASIDE}"
    if accelerator.is_main_process:
        folder.mkdir(exist_ok=True)
        for left in folder.glob(f"{PREFIX}*{ASIDE}"):
            _remove(left)
    accelerator.wait_for_everyone()
    try:
        accelerator.save_state(str(aside))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            (aside / FACTS_FILE).write_text(json.dumps(facts))
            _seal(aside)
    except Exception as error:  # torch and safetensors raise their own errors when a disk is full
        full = os.strerror(errno.ENOSPC) in str(error) or shutil.disk_usage(folder.parent).free < CHUNK
        if accelerator.is_main_process:
            shutil.rmtree(aside, ignore_errors=True)
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(checkpoint)) from error
        raise
    if accelerator.is_main_process:
        _remove(checkpoint)
        aside.rename(checkpoint)
        flush_path(folder)
        # Later ones are broken: if they counted, this one would be removed instead of them.
        older = [path for path in _checkpoints(folder) if checkpoint_step(path) <= step]
        for old in older[:-keep]:
            _remove(old)
    accelerator.wait_for_everyone()


def _checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints, good or broken, oldest first."""
    found = [path for path in folder.iterdir() if re.fullmatch(PREFIX + "[0-9]+", path.name)] if folder.exists() else []
    return sorted(found, key=checkpoint_step)


def _seal(checkpoint: Path) -> None:
    files = {}
    for path in sorted(path for path in checkpoint.rglob("*") if path.is_file()):
        flush_path(path)
        files[path.relative_to(checkpoint).as_posix()] = _size_and_checksum(path)
    seal = checkpoint / SEAL_FILE
    seal.write_text(json.dumps(files))
    flush_path(seal)
    flush_path(checkpoint)


def _problem(checkpoint: Path) -> str | None:
    try:
        files = json.loads((checkpoint / SEAL_FILE).read_text())
        for name, sealed in files.items():
            if _size_and_checksum(checkpoint / name) != sealed:
                return f"{name} has changed since it was written"
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, AttributeError, TypeError):
        return f"its {SEAL_FILE}, or a file that it names, is missing or damaged"
    return None


def _size_and_checksum(path: Path) -> list[int]:
    checksum = 0
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            checksum = zlib.crc32(chunk, checksum)
        return [file.tell(), checksum]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
