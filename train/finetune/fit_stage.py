"""The first stage of a fine-tuning: fit a new or grown quantizer to latents of the images."""

import hashlib
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import set_seed

from ...cli.progress import ProgressLine
from ...tokenizer.folder.config_json import CONFIG_FILE
from ...tokenizer.folder.fingerprint import fingerprint
from ...tokenizer.folder.save_load import save_tokenizer
from ...tokenizer.model import VisualTokenizer
from ..codebook.maintenance import CodebookConfig
from ..data.changed_images import digests_of
from ..launcher import this_process
from ..losses.terms import quantizer_weights
from .fit_quantizer import RECONSTRUCTION, fit_quantizer
from .new_quantizer import codebook_config, grow_codebook, new_quantizer_config
from .prepare import Finetuning, KeptFile
from .sample_latents import PER_IMAGE, sample_latents
from .swap_quantizer import LatentPairs, between_linear_maps, swap_quantizer, takes_shift

LATENTS_FILE = "latents.pt"
FIT_FILE = "fit.pt"


def fit_stage(run: Finetuning, folder: Path) -> Path:
    """Write the tokenizer with the fitted quantizer and its training state to `folder`, unless it is there; return it.

    A stop loses at most the collection of the latents, or `save_every` steps of the fit. Raises ValueError if the quantizer
    cannot be fitted, or there are too few latents.
    """
    latents, fit = run.config.out / LATENTS_FILE, folder / FIT_FILE
    if not (folder / CONFIG_FILE).is_file():
        # Latents depend on the tokenizer, the images, and how they are sampled.
        tokenizer = fingerprint(*run.before).encode()
        images = digests_of(run.images.of(run.train)).tobytes()
        sampling = f"{run.config.latent_vectors} {PER_IMAGE} {run.config.seed}".encode()
        key = hashlib.sha256(b"\0".join([tokenizer, images, sampling])).hexdigest()
        model = _fit(run, KeptFile(latents, key, run.warn), KeptFile(fit, key, run.warn))
        save_tokenizer(
            folder,
            model,
            model.architecture,
            run.before.config.preprocessing,
            f"# {run.config.out.resolve().name}\n\nFine-tuned from {run.config.model}: its quantizer was fitted to latents.\n",
            with_training_state=True,
        )
    for path in (latents, fit):
        path.unlink(missing_ok=True)
    return folder


def _fit(run: Finetuning, latents: KeptFile, kept: KeptFile) -> VisualTokenizer:
    config, before = run.config, run.before
    quantizer_config = new_quantizer_config(config, before)
    accelerator = this_process(config.precision)
    pairs = _latents(run, latents, accelerator)
    set_seed(config.seed)
    run.tell(f"stage 1: fitting {quantizer_config.name} to {len(pairs.vectors):,} latents for {config.fit.steps} steps")
    quantizer = quantizer_config.build()
    weights = quantizer_weights(quantizer, commitment=0.0) | {RECONSTRUCTION: 1.0}
    fitted = between_linear_maps(quantizer, pairs, takes_shift(before.config.architecture))
    if config.grow_to is None:
        maintenance = codebook_config(quantizer, len(pairs.vectors))
    else:
        grow_codebook(quantizer, before.model.quantizer, pairs.vectors, config.seed)
        maintenance = CodebookConfig()
    with ProgressLine("steps", config.fit.steps, run.verbosity.quiet) as progress:
        fit_quantizer(
            fitted,
            pairs.vectors,
            pairs.targets,
            weights,
            config.fit,
            maintenance,
            accelerator,
            config.seed,
            on_step=progress.update,
            on_kmeans_round=lambda done: progress.note(f"round {done} of k-means"),
            kept=kept,
            save_every=config.save_every,
        )
    return swap_quantizer(before.model, fitted)


def _latents(run: Finetuning, kept: KeptFile, accelerator: Accelerator) -> LatentPairs:
    """Return the kept latents, or collect and keep them; raise WorkFailedError if too many images are unreadable."""
    if found := kept.load("The latents are collected again."):
        run.tell("stage 1: using the latents of the last call")
        return LatentPairs(found["vectors"], found["targets"])
    run.tell("stage 1: collecting latents")
    config, model = run.config, run.before.model.to(accelerator.device)
    pairs = sample_latents(
        model,
        run.images.of(run.train),
        run.reader,
        config.latent_vectors,
        config.seed,
        config.data.unreadable_limit,
        run.warn,
        run.verbosity.quiet,
    )
    model.cpu()
    kept.save(**pairs._asdict())
    return pairs
