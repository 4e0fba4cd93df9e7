"""The first stage of a fine-tuning: another or a grown quantizer, fitted to the latents of the pictures."""

from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from ..images.preprocessing import to_pixels
from ..tokenizer.quantizers import QuantizerConfig, parse_quantizer
from ..tokenizer.quantizers.multiscale import MultiscaleConfig
from ..tokenizer.quantizers.vector import VectorConfig
from ..tokenizer.weights import CONFIG_FILE, LoadedTokenizer, save_tokenizer
from .codebook_care import CodebookCareConfig
from .finetune_config import FinetuneConfig
from .finetune_split import Split
from .fit import RECONSTRUCTION, fit_quantizer
from .grow import grown_quantizer
from .losses import quantizer_weights
from .run import this_process
from .swap import LatentPairs, between_linear_maps, is_bounded, latent_pairs, swap_quantizer
from .validate import validation_pictures

Report = Callable[[str], None]
"""Takes a sentence about what begins."""


def fit_stage(config: FinetuneConfig, before: LoadedTokenizer, split: Split, folder: Path, report: Report) -> Path:
    """Fit the new quantizer and write the tokenizer with it, unfolded, unless it is there; return its folder.

    Raises ValueError when the quantizer cannot be fitted to latents, or there are too few of them.
    """
    if (folder / CONFIG_FILE).is_file():
        return folder
    accelerator = this_process(config.precision)
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
    with _bar(accelerator) as bar:
        task = bar.add_task("", total=config.fit.steps)
        fit_quantizer(
            fitted,
            pairs.vectors,
            pairs.targets,
            weights,
            config.fit,
            care,
            accelerator,
            config.seed,
            lambda step: bar.update(task, completed=step),
        )
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
    pictures = validation_pictures([split.train], before.config.preprocessing, model.downsample)
    share = max(1, most // len(pictures))
    generator = torch.Generator().manual_seed(0)
    with _bar(accelerator) as bar:
        pairs = [
            _some(latent_pairs(model, _pixels(picture, accelerator)), share, generator)
            for picture in bar.track(pictures)
        ]
    model.cpu()
    return LatentPairs(*(torch.cat(parts) for parts in zip(*pairs, strict=True)))


def _bar(accelerator: Accelerator) -> Progress:
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not (accelerator.is_main_process and console.is_terminal))


def _some(pairs: LatentPairs, count: int, generator: torch.Generator) -> LatentPairs:
    rows = torch.randperm(len(pairs.vectors), generator=generator)[:count]
    return LatentPairs(pairs.vectors[rows], pairs.targets[rows])


def _pixels(picture: Tensor, accelerator: Accelerator) -> Tensor:
    return to_pixels(picture.unsqueeze(0)).to(accelerator.device)


def _card(config: FinetuneConfig) -> str:
    return (
        f"# {config.out.resolve().name}\n\nFine-tuned from {config.model}: the quantizer was fitted to its latents.\n"
    )
