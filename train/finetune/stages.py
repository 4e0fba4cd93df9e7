"""The stages of a fine-tuning, each in a folder that the next one starts from."""

from pathlib import Path

from ...tokenizer.folder.save_load import load_tokenizer
from ..config import Part, TrainConfig, parse_train_config
from ..export import EXPORT, exported_step
from ..loop import train
from ..losses.terms import quantizer_weights
from ..report import ENDED, REPORT_FILE, reached
from .config import StageConfig
from .fit_stage import fit_stage
from .prepare import STAGES_FOLDER, Finetuning


def run_stages(run: Finetuning) -> Path:
    """Run the stages that are not done, and return the folder of the final tokenizer."""
    config, folder = run.config, run.folder
    stages = config.out / STAGES_FOLDER
    if config.changes_quantizer:
        folder = fit_stage(run, stages / "1-quantizer")
        folder = _run_stage(run, config.decoder, ["decoder"], folder, stages / "2-decoder")
    return _run_stage(run, config.joint, config.train, folder, stages / "3-joint")


def _run_stage(run: Finetuning, stage: StageConfig, parts: list[Part], start: Path, out: Path) -> Path:
    """Train the parts if the stage has steps and is not done; return the folder of the tokenizer after it."""
    if not stage.steps:
        return start
    if not _is_done(out, stage.steps):
        run.tell(f"stage {out.name}: training {', '.join(parts)} for {stage.steps} steps")
        train(_train_config(run, stage, parts, start, out), run.verbosity, run.images)
    return out / EXPORT


def _is_done(out: Path, steps: int) -> bool:
    """Return whether a stage has its tokenizer and report; a stopped one may have the report of an earlier step."""
    page = out / REPORT_FILE
    if exported_step(out / EXPORT) != steps or not page.is_file():
        return False
    text = page.read_bytes()
    return reached(steps, steps).encode() in text and ENDED.encode() not in text


def _train_config(run: Finetuning, stage: StageConfig, parts: list[Part], start: Path, out: Path) -> TrainConfig:
    config, steps, before = run.config, stage.steps, load_tokenizer(start)
    own_weights = quantizer_weights(before.model.quantizer, commitment=0.25) if "quantizer" in parts else {}
    side = before.model.downsample
    return parse_train_config(
        {
            "run": {
                "out": out,
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
                "train": [run.train.model_dump()],
                "val": [run.val.model_dump()],
                "size": max(side, config.data.crop // side * side),
                "batch_size": config.data.batch_size,
                "workers": config.data.workers,
                "cached_images": 5000,
                "on_error": config.data.on_error,
                "max_unreadable": config.data.max_unreadable,
            },
            "model": {
                "architecture": before.config.architecture.model_dump(),
                "quantizer": before.config.quantizer.model_dump(),
                "preprocessing": before.config.preprocessing.model_dump(),
                "train": parts,
                "init_from": start,
            },
            "losses": config.losses | own_weights,
            "optimizer": {"name": "muon", "lr": stage.lr, "warmup": min(50, steps // 10)},
        }
    )
