"""Fine-tuning from a tokenizer folder alone: stages, each a folder that the next starts from.

With another or a grown quantizer: 1. it is fitted to collected latents, 2. the decoder learns its codes. Then, where asked,
3. all parts learn together. Without: the last stage alone. A stage is done when its tokenizer folder is there.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor

from ..images.preprocessing import to_pixels
from ..pretrained import find_tokenizer
from ..tokenizer.model import VisualTokenizer
from ..tokenizer.quantizers import QuantizerConfig, parse_quantizer
from ..tokenizer.quantizers.multiscale import MultiscaleConfig
from ..tokenizer.quantizers.vector import VectorConfig
from ..tokenizer.weights import CONFIG_FILE, LoadedTokenizer, load_tokenizer, save_tokenizer
from .codebook_care import CodebookCareConfig
from .config import TrainConfig, parse_train_config
from .data import SourceConfig, source_pictures
from .finetune_config import FinetuneConfig, StageConfig
from .fit import RECONSTRUCTION, fit_quantizer
from .grow import grown_quantizer
from .loop import train
from .losses import quantizer_weights
from .run import PRECISIONS
from .swap import LatentPairs, between_linear_maps, is_bounded, latent_pairs, swap_quantizer
from .validate import validation_pictures


class Split(NamedTuple):
    """The pictures of a fine-tuning."""

    train: list[SourceConfig]
    val: list[SourceConfig]
    note: str
    """What was held out, in words."""


class Finetuned(NamedTuple):
    """What a fine-tuning leaves behind."""

    before: LoadedTokenizer
    after: Path
    """Tokenizer folder."""
    split: Split


Report = Callable[[str], None]


def finetune(config: FinetuneConfig, report: Report) -> Finetuned:
    """Run the stages that are not done; `report` is told a sentence when one begins."""
    before = load_tokenizer(find_tokenizer(config.model))
    split = split_pictures(config)
    report(split.note)
    stages = config.out / "stages"
    folder = find_tokenizer(config.model)
    if config.changes_quantizer:
        folder = _fit_stage(config, before, split, stages / "1-quantizer", report)
        if config.decoder.steps:
            report(f"stage 2: the decoder learns the codes of the new quantizer, {config.decoder.steps} steps")
            folder = train(_training(config, config.decoder, ["decoder"], folder, split, stages / "2-decoder"))
    if config.joint.steps:
        report(f"last stage: {', '.join(config.train)} learn, {config.joint.steps} steps")
        folder = train(_training(config, config.joint, list(config.train), folder, split, stages / "3-joint"))
    return Finetuned(before, folder, split)


def split_pictures(config: FinetuneConfig) -> Split:
    """Return what is trained on and what is judged on, by the names of the pictures alone."""
    data = config.data
    if data.val:
        return Split(_sources(data.train), _sources(data.val), "judged on the pictures of data.val")
    share = data.held_out
    count = sum(len(source_pictures(source)) for source in _sources(data.train))
    if round(count * share) < 1 or round(count * share) == count:
        return Split(
            _sources(data.train),
            _sources(data.train),
            f"{count} pictures are too few to hold any out: judged on the training pictures themselves",
        )
    train_part = [source.model_copy(update={"share": (share, 1.0)}) for source in _sources(data.train)]
    val_part = [source.model_copy(update={"share": (0.0, share)}) for source in _sources(data.train)]
    held = sum(len(source_pictures(source)) for source in val_part)
    return Split(train_part, val_part, f"{held} of {count} pictures are held out, and judged on")


def _sources(paths: list[str]) -> list[SourceConfig]:
    return [SourceConfig(path=path) for path in paths]


def _fit_stage(config: FinetuneConfig, before: LoadedTokenizer, split: Split, folder: Path, report: Report) -> Path:
    if (folder / CONFIG_FILE).is_file():
        return folder
    accelerator = Accelerator(mixed_precision=PRECISIONS[config.precision])
    set_seed(config.seed)
    report("stage 1: collecting latents")
    pairs = _collect(before, split, config.latent_vectors, accelerator)
    quantizer_config = _new_quantizer(config, before)
    report(f"stage 1: fitting {quantizer_config.name} to {len(pairs.vectors):,} latents, {config.fit.steps} steps")
    quantizer = quantizer_config.build()
    weights = quantizer_weights(quantizer, commitment=0.0) | {RECONSTRUCTION: 1.0}
    fitted = between_linear_maps(quantizer, pairs)
    care = _care(quantizer_config, len(pairs.vectors))
    if config.grow_to is not None:
        grown_quantizer(quantizer, before.model.quantizer, pairs.vectors, config.seed)
        care = CodebookCareConfig()
    fit_quantizer(fitted, pairs.vectors, pairs.targets, weights, config.fit, care, accelerator, config.seed)
    swapped = swap_quantizer(before.model, before.config.architecture, fitted)
    if accelerator.is_main_process:
        save_tokenizer(
            folder, swapped.model, swapped.architecture, before.config.preprocessing, _card(config), fold=False
        )
    accelerator.wait_for_everyone()
    return folder


def _new_quantizer(config: FinetuneConfig, before: LoadedTokenizer) -> QuantizerConfig:
    old = before.config.quantizer
    if config.grow_to is not None:
        if not isinstance(old, VectorConfig) or config.grow_to <= old.codebook_size:
            had = f"{old.codebook_size} codes" if isinstance(old, VectorConfig) else f"no table of codes ({old.name})"
            raise ValueError(
                f"grow_to is {config.grow_to}, but {config.model} has {had}: grow a vector quantizer, to more codes than "
                "it has."
            )
        return parse_quantizer({**old.model_dump(), "codebook_size": config.grow_to})
    quantizer = config.quantizer
    assert quantizer is not None
    if isinstance(quantizer, MultiscaleConfig):
        raise ValueError(
            "quantizer is multiscale, which needs whole grids and cannot be fitted to latents: train it with "
            "train-tokenizer and model.start_from."
        )
    if isinstance(quantizer, VectorConfig) and is_bounded(before.model.quantizer):
        # The decoder knows latents that went through tanh; distances are measured where it sees them.
        return quantizer.model_copy(update={"squash": "tanh"})
    return quantizer


def _care(quantizer: QuantizerConfig, vectors: int) -> CodebookCareConfig:
    built = quantizer.build()
    replaceable = [module for module in built.modules() if getattr(module, "can_replace", None) is not None]
    if not replaceable or not all(module.can_replace for module in replaceable):
        return CodebookCareConfig()
    enough = vectors // built.vocab_size
    if enough < 1:
        raise ValueError(
            f"The pictures give {vectors:,} latents for {built.vocab_size:,} codes: give more pictures, or a smaller "
            "codebook_size."
        )
    return CodebookCareConfig(initialise="kmeans", vectors_per_code=enough, revive_every=50)


def _collect(before: LoadedTokenizer, split: Split, most: int, accelerator: Accelerator) -> LatentPairs:
    model = before.model.to(accelerator.device)
    pictures = validation_pictures(split.train, before.config.preprocessing, model.downsample)
    share = max(1, most // len(pictures))
    generator = torch.Generator().manual_seed(0)
    pairs = [_some(latent_pairs(model, _pixels(picture, accelerator)), share, generator) for picture in pictures]
    model.cpu()
    return LatentPairs(*(torch.cat(parts) for parts in zip(*pairs, strict=True)))


def _some(pairs: LatentPairs, count: int, generator: torch.Generator) -> LatentPairs:
    rows = torch.randperm(len(pairs.vectors), generator=generator)[:count]
    return LatentPairs(pairs.vectors[rows], pairs.targets[rows])


def _pixels(picture: Tensor, accelerator: Accelerator) -> Tensor:
    return to_pixels(picture.unsqueeze(0)).to(accelerator.device)


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
                "weight_average": min(0.999, 1 - 10 / (stage.steps + 10)),
                "fold": False,
            },
            "data": {
                "train": [source.model_dump() for source in split.train],
                "val": [source.model_dump() for source in split.val],
                "size": max(side, config.data.crop // side * side),
                "batch_size": config.data.batch_size,
                "workers": config.data.workers,
                "cached_pictures": 5000,
            },
            "model": {
                "architecture": loaded.config.architecture.model_dump(),
                "quantizer": loaded.config.quantizer.model_dump(),
                "preprocessing": loaded.config.preprocessing.model_dump(),
                "train": parts,
                "start_from": start,
            },
            "losses": weights,
            "optimizer": {"name": "muon", "lr": stage.lr, "warmup": min(50, stage.steps // 10)},
        }
    )


def _card(config: FinetuneConfig) -> str:
    return (
        f"# {config.out.resolve().name}\n\nFine-tuned from {config.model}: the quantizer was fitted to its latents.\n"
    )
