"""Fine-tuning from a tokenizer folder alone: stages, each a folder that the next starts from.

With another or a grown quantizer: 1. it is fitted to collected latents, 2. the decoder learns its codes. Then, where asked,
3. all parts learn together. Without: the last stage alone. A stage is done when its tokenizer folder is there, and the
report of its last step; one that was stopped goes on from what it kept.
"""

from itertools import chain
from pathlib import Path
from typing import NamedTuple

from ...pretrained.find import find_tokenizer
from ...tokenizer.folder.save_load import LoadedTokenizer, load_tokenizer
from ...tokenizer.model import VisualTokenizer
from ..config import TrainConfig, parse_train_config
from ..data.changed_images import IMAGES_FILE, record_images
from ..data.config import SourceConfig
from ..data.source_images import SourceImages
from ..export import EXPORT, exported_step
from ..logs.verbosity import VERBOSE, Verbosity
from ..loop import train
from ..losses.terms import quantizer_weights
from ..report import ENDED, REPORT_FILE, reached
from .config import FinetuneConfig, StageConfig
from .fit_stage import fit_stage
from .latents import Report
from .split import Split, split_images

STAGES = "stages"


class Finetuned(NamedTuple):
    """What a fine-tuning leaves behind."""

    before: LoadedTokenizer
    after: Path
    """Tokenizer folder."""
    split: Split
    listing: SourceImages
    """The images as they were when it began."""


def finetune(config: FinetuneConfig, report: Report, verbosity: Verbosity = VERBOSE) -> Finetuned:
    """Run the stages that are not done; `report` is told a sentence when one begins, and warnings."""
    folder = find_tokenizer(config.model)
    before = load_tokenizer(folder)
    listing = SourceImages()
    split = split_images(config, listing)
    report(split.note)
    sources = [SourceConfig(path=path) for path in (config.data.train, config.data.val) if path]
    entries = chain.from_iterable(listing.of(source) for source in sources)
    for warning in record_images(config.out / IMAGES_FILE, entries):
        report(f"warning: {warning}")
    stages = config.out / STAGES
    if config.changes_quantizer:
        folder = fit_stage(config, before, listing.of(split.train), stages / "1-quantizer", report, verbosity.quiet)
        folder = _stage(
            config, config.decoder, ["decoder"], folder, split, stages / "2-decoder", report, verbosity, listing
        )
    folder = _stage(
        config, config.joint, list(config.train), folder, split, stages / "3-joint", report, verbosity, listing
    )
    return Finetuned(before, folder, split, listing)


def _stage(
    config: FinetuneConfig,
    stage: StageConfig,
    parts: list[str],
    start: Path,
    split: Split,
    out: Path,
    report: Report,
    verbosity: Verbosity,
    listing: SourceImages,
) -> Path:
    """Train unless it was done or has no steps, and return the folder of the tokenizer after it."""
    if not stage.steps:
        return start
    if _is_done(out, stage.steps):
        return out / EXPORT
    report(f"stage {out.name}: {', '.join(parts)} {'learns' if len(parts) == 1 else 'learn'}, {stage.steps} steps")
    return train(_training(config, stage, parts, start, split, out), verbosity, listing)


def _is_done(out: Path, steps: int) -> bool:
    """Return whether a stage has its tokenizer and its report; one that was stopped may have the report of an earlier step."""
    page = out / REPORT_FILE
    if exported_step(out / EXPORT) != steps or not page.is_file():
        return False
    text = page.read_bytes()
    return reached(steps, steps).encode() in text and ENDED.encode() not in text


def _training(
    config: FinetuneConfig, stage: StageConfig, parts: list[str], start: Path, split: Split, out: Path
) -> TrainConfig:
    loaded = load_tokenizer(start)
    model: VisualTokenizer = loaded.model
    weights = dict(config.losses)
    if "quantizer" in parts:
        weights |= quantizer_weights(model.quantizer, commitment=0.25)
    side = model.downsample
    return parse_train_config(
        {
            "run": {
                "out": out,
                "steps": stage.steps,
                "seed": config.seed,
                "precision": config.precision,
                "log_every": max(1, min(50, stage.steps // 10)),
                "save_every": config.save_every,
                "validate_every": stage.steps,
                "ema_decay": min(0.999, 1 - 10 / (stage.steps + 10)),
                "export_training_state": True,
            },
            "data": {
                "train": [split.train.model_dump()],
                "val": [split.val.model_dump()],
                "size": max(side, config.data.crop // side * side),
                "batch_size": config.data.batch_size,
                "workers": config.data.workers,
                "cached_images": 5000,
                "on_error": config.data.on_error,
                "max_unreadable": config.data.max_unreadable,
            },
            "model": {
                "architecture": loaded.config.architecture.model_dump(),
                "quantizer": loaded.config.quantizer.model_dump(),
                "preprocessing": loaded.config.preprocessing.model_dump(),
                "train": parts,
                "init_from": start,
            },
            "losses": weights,
            "optimizer": {"name": "muon", "lr": stage.lr, "warmup": min(50, stage.steps // 10)},
        }
    )
