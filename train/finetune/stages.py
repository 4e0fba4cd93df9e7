"""The stages of a fine-tuning, each in a folder that the next one starts from.

With a new quantizer: 1. fit it to collected latents, 2. train the decoder on its codes, and 3. if asked for, train all parts
together. Otherwise the last stage alone. A stage is done when its folder holds a tokenizer and the report of its last step;
a stopped stage resumes.
"""

from pathlib import Path
from typing import NamedTuple

from ...tokenizer.folder.save_load import load_tokenizer
from ..config import TrainConfig, parse_train_config
from ..export import EXPORT, exported_step
from ..loop import train
from ..losses.terms import quantizer_weights
from ..report import ENDED, REPORT_FILE, reached
from .config import StageConfig
from .fit_stage import fit_stage
from .kept_files import STAGES_FOLDER
from .prepare import Finetuning


def run_stages(run: Finetuning) -> Path:
    """Run the stages that are not done, and return the folder of the final tokenizer."""
    config, folder = run.config, run.folder
    stages = config.out / STAGES_FOLDER
    if config.changes_quantizer:
        folder = fit_stage(run, stages / "1-quantizer")
        folder = _run_stage(run, _Stage(config.decoder, ["decoder"], folder, stages / "2-decoder"))
    return _run_stage(run, _Stage(config.joint, list(config.train), folder, stages / "3-joint"))


class _Stage(NamedTuple):
    """A stage of training."""

    config: StageConfig
    parts: list[str]
    start: Path
    """Folder of the tokenizer to start from."""
    out: Path


def _run_stage(run: Finetuning, stage: _Stage) -> Path:
    """Train if the stage has steps and is not done; return the folder of the tokenizer after it."""
    if not stage.config.steps:
        return stage.start
    if not _is_done(stage):
        run.tell(f"stage {stage.out.name}: training {', '.join(stage.parts)} for {stage.config.steps} steps")
        train(_train_config(run, stage), run.verbosity, run.images)
    return stage.out / EXPORT


def _is_done(stage: _Stage) -> bool:
    """Return whether a stage has its tokenizer and report; a stopped one may have the report of an earlier step."""
    page, steps = stage.out / REPORT_FILE, stage.config.steps
    if exported_step(stage.out / EXPORT) != steps or not page.is_file():
        return False
    text = page.read_bytes()
    return reached(steps, steps).encode() in text and ENDED.encode() not in text


def _train_config(run: Finetuning, stage: _Stage) -> TrainConfig:
    config, steps = run.config, stage.config.steps
    start = load_tokenizer(stage.start)
    weights = dict(config.losses)
    if "quantizer" in stage.parts:
        weights |= quantizer_weights(start.model.quantizer, commitment=0.25)
    side = start.model.downsample
    return parse_train_config(
        {
            "run": {
                "out": stage.out,
                "steps": steps,
                "seed": config.seed,
                "precision": config.precision,
                "log_every": max(1, min(50, steps // 10)),
                "save_every": config.save_every,
                "validate_every": steps,
                "ema_decay": min(0.999, 1 - 10 / (steps + 10)),
                "export_training_state": True,
            },
            "data": {
                "train": [run.split.train.model_dump()],
                "val": [run.split.val.model_dump()],
                "size": max(side, config.data.crop // side * side),
                "batch_size": config.data.batch_size,
                "workers": config.data.workers,
                "cached_images": 5000,
                "on_error": config.data.on_error,
                "max_unreadable": config.data.max_unreadable,
            },
            "model": {
                "architecture": start.config.architecture.model_dump(),
                "quantizer": start.config.quantizer.model_dump(),
                "preprocessing": start.config.preprocessing.model_dump(),
                "train": stage.parts,
                "init_from": stage.start,
            },
            "losses": weights,
            "optimizer": {"name": "muon", "lr": stage.config.lr, "warmup": min(50, steps // 10)},
        }
    )
