"""The first stage of a fine-tuning: another or a grown quantizer, fitted to the latents of the images."""

from collections.abc import Sequence
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import set_seed

from ...cli.progress import ProgressLine
from ...images.finding.index import Entry
from ...tokenizer.config import parse_choice
from ...tokenizer.folder.save_load import CONFIG_FILE, LoadedTokenizer, save_tokenizer
from ...tokenizer.quantizers import QUANTIZERS, QuantizerConfig
from ...tokenizer.quantizers.composed.multiscale import MultiscaleConfig
from ...tokenizer.quantizers.vector.config import VectorConfig
from ..codebook.maintenance import CodebookConfig
from ..launcher import this_process
from ..losses.terms import quantizer_weights
from .config import FinetuneConfig
from .fit_quantizer import RECONSTRUCTION, fit_quantizer
from .fit_states import FIT_FILE, FitStates
from .grow_codebook import grown_quantizer
from .latents import LATENTS_FILE, Report, collected_latents, latents_key
from .swap_quantizer import LatentPairs, Swapped, between_linear_maps, is_bounded, swap_quantizer


def fit_stage(
    config: FinetuneConfig,
    before: LoadedTokenizer,
    entries: Sequence[Entry],
    folder: Path,
    report: Report,
    quiet: bool,
) -> Path:
    """Fit the new quantizer to latents of the images, and write the tokenizer with it, unfolded, unless it is there.

    Returns its folder. A stop costs no more than the collecting of the latents, or `save_every` steps of the fit. Raises
    ValueError when the quantizer cannot be fitted to latents, or there are too few of them.
    """
    latents, states = config.out / LATENTS_FILE, folder / FIT_FILE
    if not (folder / CONFIG_FILE).is_file():
        quantizer_config = _new_quantizer(config, before)
        accelerator = this_process(config.precision)
        key = latents_key(config, before, entries)
        pairs = collected_latents(config, before, entries, key, accelerator, report, quiet)
        kept = FitStates(states, key, config.save_every, lambda sentence: report(f"warning: {sentence}"))
        swapped = _fitted(config, before, quantizer_config, pairs, accelerator, kept, report, quiet)
        save_tokenizer(
            folder,
            swapped.model,
            swapped.architecture,
            before.config.preprocessing,
            _card(config),
            with_training_state=True,
        )
    for path in (latents, states):
        path.unlink(missing_ok=True)
    return folder


def _fitted(
    config: FinetuneConfig,
    before: LoadedTokenizer,
    quantizer_config: QuantizerConfig,
    pairs: LatentPairs,
    accelerator: Accelerator,
    kept: FitStates,
    report: Report,
    quiet: bool,
) -> Swapped:
    set_seed(config.seed)
    report(f"stage 1: fitting {quantizer_config.name} to {len(pairs.vectors):,} latents, {config.fit.steps} steps")
    quantizer = quantizer_config.build()
    weights = quantizer_weights(quantizer, commitment=0.0) | {RECONSTRUCTION: 1.0}
    fitted = between_linear_maps(quantizer, pairs)
    care = _care(quantizer_config, len(pairs.vectors))
    if config.grow_to is not None:
        grown_quantizer(quantizer, before.model.quantizer, pairs.vectors, config.seed)
        care = CodebookConfig()
    with ProgressLine("steps", config.fit.steps, quiet) as progress:
        fit_quantizer(
            fitted,
            pairs.vectors,
            pairs.targets,
            weights,
            config.fit,
            care,
            accelerator,
            config.seed,
            progress.update,
            kept,
            lambda rounds: progress.note(f"round {rounds} of k-means"),
        )
    return swap_quantizer(before.model, before.config.architecture, fitted)


def _new_quantizer(config: FinetuneConfig, before: LoadedTokenizer) -> QuantizerConfig:
    old = before.config.quantizer
    if config.grow_to is not None:
        if not isinstance(old, VectorConfig) or config.grow_to <= old.codebook_size:
            had = f"{old.codebook_size} codes" if isinstance(old, VectorConfig) else f"no table of codes ({old.name})"
            raise ValueError(
                f"grow_to is {config.grow_to}, but {config.model} has {had}: grow a vector quantizer, to more codes than "
                "it has."
            )
        return parse_choice(QUANTIZERS, {**old.model_dump(), "codebook_size": config.grow_to}, "quantizer")
    quantizer = config.quantizer
    assert quantizer is not None
    if isinstance(quantizer, MultiscaleConfig):
        raise ValueError(
            "quantizer is multiscale, which needs whole grids and cannot be fitted to latents: train it with "
            "train-tokenizer and model.init_from."
        )
    if isinstance(quantizer, VectorConfig) and is_bounded(before.model.quantizer):
        # The decoder knows latents that went through tanh; distances are measured where it sees them.
        return quantizer.model_copy(update={"squash": "tanh"})
    return quantizer


def _care(quantizer: QuantizerConfig, vectors: int) -> CodebookConfig:
    built = quantizer.build()
    replaceable = [module for module in built.modules() if getattr(module, "can_replace", None) is not None]
    if not replaceable or not all(module.can_replace for module in replaceable):
        return CodebookConfig()
    enough = vectors // built.vocab_size
    if enough < 1:
        raise ValueError(
            f"The images give {vectors:,} latents for {built.vocab_size:,} codes: give more images, or a smaller "
            "codebook_size."
        )
    return CodebookConfig(initialization="kmeans", vectors_per_code=enough, revive_every=50)


def _card(config: FinetuneConfig) -> str:
    return (
        f"# {config.out.resolve().name}\n\nFine-tuned from {config.model}: the quantizer was fitted to its latents.\n"
    )
