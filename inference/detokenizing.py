"""What detokenize-images does, from its options to the images."""

import errno
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from ..images.opening import MAX_PIXELS
from ..images.saving import mark_of, save_png
from ..terminal import ProgressLine, check_output_folder, counted
from ..tokenizer.files import ASIDE_PATTERN, hold_folder
from .api import Tokenizer, load
from .image_names import image_names
from .manifest import Manifest
from .stored_shards import Found, find_shards, manifest_of
from .token_tar import StoredSample

BATCH = 16
BATCH_PIXELS = 1 << 22
"""Pixels of images that are decoded together."""
NO_PLACE = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)
"""Errors of writing that concern one image alone."""


class Request(NamedTuple):
    """The options of detokenize-images."""

    inputs: list[Path]
    out: Path
    model: str | None
    device: str
    overwrite: bool
    quiet: bool


class Outcome(NamedTuple):
    """What a run did."""

    out: Path
    shards: int
    written: int
    there_before: int
    """Images that an earlier call wrote from the same tokens."""
    failures: list[str]
    damaged: list[str]

    @property
    def has_failed(self) -> bool:
        """Whether something did not come back."""
        return bool(self.failures or self.damaged)

    def lines(self) -> list[str]:
        """Return the lines for a person."""
        before = f", {self.there_before} there before" if self.there_before else ""
        lines = [f"{counted(self.written, 'image')} from {counted(self.shards, 'shard')} in {self.out}{before}"]
        lines += [f"  failed: {reason}" for reason in self.failures]
        return lines + [f"  damaged: {sentence}" for sentence in self.damaged]


class Job(NamedTuple):
    """An image to make."""

    sample: StoredSample
    path: Path
    where: str
    """Shard and key, for messages."""
    maker: "Maker"


class Maker(NamedTuple):
    """What makes the images of a folder."""

    tokenizer: Tokenizer
    is_native: bool
    digest: str
    """SHA-256 of all that decides the pixels."""


class Made(NamedTuple):
    """Tokens that were checked, and the image that they stand for."""

    job: Job
    tokens: np.ndarray
    width: int
    height: int
    mark: str


def detokenize(request: Request) -> Outcome:
    """Make images of token shards; what cannot be made is named, and the rest is made.

    Raises ValueError for a wrong call, OSError when the disk refuses.
    """
    out = request.out
    check_output_folder(out)
    found = find_shards(request.inputs)
    makers = _makers(found, request)
    jobs = _jobs(found, makers, out)
    if not request.overwrite:
        _refuse_replacing(jobs)
    failures: list[str] = []
    written = before = 0
    with hold_folder(out, "detokenize-images"), ThreadPoolExecutor() as pool, ProgressLine(quiet=request.quiet) as line:
        for batch in _batches(_checked(jobs, failures)):
            missing = [made for made in batch if mark_of(made.job.path) != made.mark]
            before += len(batch) - len(missing)
            problems = [problem for problem in pool.map(_save, missing, _decoded(missing)) if problem]
            failures += problems
            written += len(missing) - len(problems)
            line.update(written + before + len(failures), len(jobs), f"{len(failures)} failed" if failures else "")
        for folder in {job.path.parent for job in jobs if job.path.parent.is_dir()}:
            for aside in folder.glob(ASIDE_PATTERN):
                aside.unlink()
    return Outcome(out, len(found.shards), written, before, failures, found.damaged)


def _makers(found: Found, request: Request) -> dict[Path, Maker]:
    """Load the tokenizer of each folder, which its manifest names unless the user does."""
    loaded: dict[str, Tokenizer] = {}
    makers = {}
    for folder in dict.fromkeys(shard.path.parent for shard in found.shards):
        manifest = manifest_of(folder)
        model = request.model or manifest.model
        if model not in loaded:
            loaded[model] = load(model, request.device)
        makers[folder] = _maker(folder, manifest, loaded[model], model)
    return makers


def _maker(folder: Path, manifest: Manifest, tokenizer: Tokenizer, model: str) -> Maker:
    tokenizer = tokenizer.with_preprocessing(manifest.preprocessing)
    if tokenizer.fingerprint != manifest.fingerprint:
        raise ValueError(
            f"{folder} holds tokens of {manifest.model}, but {model} makes others: give --model the tokenizer that made them."
        )
    digest = hashlib.sha256(tokenizer.fingerprint.encode())
    for module in (tokenizer.model.quantizer_out, tokenizer.model.decoder):
        for name, value in sorted(module.state_dict().items()):
            digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return Maker(tokenizer, manifest.preprocessing.size == "native", digest.hexdigest())


def _jobs(found: Found, makers: dict[Path, Maker], out: Path) -> list[Job]:
    names = image_names([(shard.path.stem, [sample.key for sample in shard.samples]) for shard in found.shards])
    return [
        Job(sample, out / name, f"{shard.path}: {sample.key}", makers[shard.path.parent])
        for shard, row in zip(found.shards, names, strict=True)
        for sample, name in zip(shard.samples, row, strict=True)
    ]


def _refuse_replacing(jobs: list[Job]) -> None:
    for made in _checked((job for job in jobs if os.path.lexists(job.path)), []):
        path = made.job.path
        if mark_of(path) != made.mark:
            raise ValueError(f"{path} is there already: give another --out folder, or --overwrite to replace it.")


def _checked(jobs: Any, failures: list[str]) -> Iterator[Made]:
    """Read tokens and check that they are those of the tokenizer; what is wrong with others is appended to `failures`."""
    for job in jobs:
        try:
            yield _check(job)
        except ValueError as error:
            failures.append(f"{job.where}: {error}")


def _check(job: Job) -> Made:
    facts = job.sample.facts()
    width, height = facts["width"], facts["height"]
    tokenizer, is_native, digest = job.maker
    if is_native and width * height > MAX_PIXELS:
        raise ValueError(f"{width} x {height} is more than {MAX_PIXELS} pixels")
    tokens = job.sample.tokens()
    expected = (tokenizer.num_codebooks, *tokenizer.grid(height, width))
    if tokens.shape != expected:
        raise ValueError(f"the tokens are {tokens.shape}, where an image of {width} x {height} has {expected}")
    if int(tokens.max()) >= tokenizer.vocab_size:
        raise ValueError(f"a token is {int(tokens.max())}, but the codes are 0 to {tokenizer.vocab_size - 1}")
    mark = hashlib.sha256(f"{digest} {width} {height} {tokens.shape}".encode() + tokens.astype("<u8").tobytes())
    return Made(job, tokens, width, height, mark.hexdigest())


def _batches(images: Iterator[Made]) -> Iterator[list[Made]]:
    """Group neighbours of one tokenizer and one grid."""
    batch: list[Made] = []
    for made in chain(images, [None]):
        if batch and (made is None or _closes(batch, made)):
            yield batch
            batch = []
        if made is not None:
            batch.append(made)


def _closes(batch: list[Made], made: Made) -> bool:
    first = batch[0]
    is_other = first.tokens.shape != made.tokens.shape or first.job.maker is not made.job.maker
    pixels = first.tokens[0].size * first.job.maker.tokenizer.downsample**2
    return is_other or len(batch) == BATCH or len(batch) * pixels >= BATCH_PIXELS


def _decoded(batch: list[Made]) -> list[Image.Image]:
    if not batch:
        return []
    tokens = np.stack([made.tokens for made in batch]).astype(np.int64)
    return batch[0].job.maker.tokenizer.decode(torch.from_numpy(tokens))


def _save(made: Made, image: Image.Image) -> str:
    """Write an image and return "", or why it has no place of its own."""
    if made.job.maker.is_native:
        image = image.crop((0, 0, made.width, made.height))
    try:
        save_png(made.job.path, image, made.mark)
    except OSError as error:
        if error.errno not in NO_PLACE:
            raise
        return f"{made.job.where}: {made.job.path} cannot be written ({error.strerror})"
    return ""
