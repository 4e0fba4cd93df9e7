"""What the runs of all training stages have in common, and when one is done."""

from pathlib import Path
from typing import Any

from ...tokenizer.folder.save_load import LoadedTokenizer
from ..export import EXPORT, exported_step
from ..report import ENDED, REPORT_FILE, reached
from .prepare import Finetuning


def is_done(out: Path, steps: int, decoder: str | None = None) -> bool:
    """Return whether a stage has its tokenizer and report; a stopped one may have the report of an earlier step."""
    page = out / REPORT_FILE
    if exported_step(out / EXPORT, decoder) != steps or not page.is_file():
        return False
    text = page.read_bytes()
    return reached(steps, steps).encode() in text and ENDED.encode() not in text


def run_section(run: Finetuning, out: Path, steps: int) -> dict[str, Any]:
    """Return the section `run` of a stage."""
    return {
        "out": out,
        "steps": steps,
        "seed": run.config.seed,
        "precision": run.config.precision,
        "log_every": max(1, min(50, steps // 10)),
        "save_every": run.config.save_every,
        "validate_every": steps,
        "ema_decay": min(0.999, 1 - 10 / (steps + 10)),
    }


def data_section(run: Finetuning, before: LoadedTokenizer) -> dict[str, Any]:
    """Return the section `data` of a stage that trains the tokenizer `before`."""
    config = run.config
    side, only_size = before.model.downsample, before.config.architecture.image_size
    crop = min(config.data.crop, config.size or config.data.crop)
    return {
        "train": [run.train.model_dump()],
        "val": [run.val.model_dump()],
        "size": only_size or max(side, crop // side * side),
        "short_sides": config.size and [config.size],
        "batch_size": config.data.batch_size,
        "workers": config.data.workers,
        "cached_images": 5000,
        "on_error": config.data.on_error,
        "max_unreadable": config.data.max_unreadable,
    }
