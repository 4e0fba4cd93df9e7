"""Latents of the images that a quantizer is fitted to, kept in a file so that they are collected once."""

import hashlib
from collections.abc import Callable, Sequence

from accelerate import Accelerator

from ...images.finding.index import Entry
from ...tokenizer.folder.save_load import LoadedTokenizer, fingerprint
from ..checkpoints.checked_file import load_checked, save_checked
from ..data.changed_images import digests_of
from ..data.read_images import ImageReader
from .config import FinetuneConfig
from .latent_sample import PER_IMAGE, sample_latents
from .swap_quantizer import LatentPairs

LATENTS_FILE = "latents.pt"
Report = Callable[[str], None]
"""Takes a sentence about what begins."""


def latents_key(config: FinetuneConfig, before: LoadedTokenizer, entries: Sequence[Entry]) -> str:
    """Return what the latents depend on, as a digest: the tokenizer, the images, and which vectors of them are taken."""
    sample = f"{config.latent_vectors} {PER_IMAGE} {config.seed}"
    parts = [fingerprint(before.model, before.config).encode(), digests_of(entries).tobytes(), sample.encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def collected_latents(
    config: FinetuneConfig,
    before: LoadedTokenizer,
    entries: Sequence[Entry],
    key: str,
    accelerator: Accelerator,
    report: Report,
    quiet: bool,
) -> LatentPairs:
    """Return the latents of the file that was written under `key`, or collect them and write it.

    Raises WorkFailedError when too many images cannot be read.
    """
    path = config.out / LATENTS_FILE
    try:
        found = load_checked(path)
    except ValueError as error:
        report(f"warning: {error} The latents are collected again.")
        found = None
    if found is not None and found["key"] == key:
        report("stage 1: the latents were collected before")
        return LatentPairs(found["vectors"], found["targets"])
    report("stage 1: collecting latents")
    model = before.model.to(accelerator.device)
    pairs = sample_latents(
        model,
        entries,
        ImageReader(before.config.preprocessing, model.downsample, max(1, config.data.workers)),
        config.latent_vectors,
        config.seed,
        config.data.unreadable_limit,
        lambda warning: report(f"warning: {warning}"),
        quiet,
    )
    model.cpu()
    save_checked(path, {"key": key, **pairs._asdict()})
    return pairs
