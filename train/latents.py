"""Latents of the images that a quantizer is fitted to, kept in a file so that they are collected once."""

import hashlib
from collections.abc import Callable

import torch
from accelerate import Accelerator

from ..images.preprocessing import to_pixels
from ..terminal import track
from ..tokenizer.weights import LoadedTokenizer, fingerprint
from .checked_file import load_checked, save_checked
from .data import source_pictures
from .finetune_config import FinetuneConfig
from .finetune_split import Split
from .known_images import digests_of
from .reading import readable_images
from .swap import LatentPairs, latent_pairs

LATENTS_FILE = "latents.pt"
Report = Callable[[str], None]
"""Takes a sentence about what begins."""


def latents_key(config: FinetuneConfig, before: LoadedTokenizer, split: Split) -> str:
    """Return what the latents depend on, as a digest: the tokenizer, the images, and how many are wanted."""
    images = digests_of(source_pictures(split.train)).tobytes()
    parts = [fingerprint(before.model, before.config).encode(), images, str(config.latent_vectors).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def collected_latents(
    config: FinetuneConfig,
    before: LoadedTokenizer,
    split: Split,
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
    pairs = _collect(config, before, split, accelerator, report, quiet)
    save_checked(path, {"key": key, **pairs._asdict()})
    return pairs


def _collect(
    config: FinetuneConfig, before: LoadedTokenizer, split: Split, accelerator: Accelerator, report: Report, quiet: bool
) -> LatentPairs:
    model = before.model.to(accelerator.device)
    count = len(source_pictures(split.train))
    share = max(1, config.latent_vectors // count)
    generator = torch.Generator().manual_seed(0)
    images = readable_images(
        [split.train],
        before.config.preprocessing,
        model.downsample,
        config.data.tolerance,
        lambda warning: report(f"warning: {warning}"),
    )
    pairs = []
    for image in track(images, "images", count, quiet):
        pixels = to_pixels(torch.from_numpy(image.copy()).unsqueeze(0)).to(accelerator.device)
        pairs.append(_some(latent_pairs(model, pixels), share, generator))
    model.cpu()
    return LatentPairs(*(torch.cat(parts) for parts in zip(*pairs, strict=True)))


def _some(pairs: LatentPairs, count: int, generator: torch.Generator) -> LatentPairs:
    rows = torch.randperm(len(pairs.vectors), generator=generator)[:count]
    return LatentPairs(pairs.vectors[rows], pairs.targets[rows])
