"""From stored tokens to images: checked, decoded in batches, and saved."""

import errno
import hashlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from ...images.opening.open_image import MAX_PIXELS
from ...images.saving import save_png
from ...tokenizer.numerics.exact import DEVICE_BATCH, batch_for
from ..api import Tokenizer
from ..token_shards.manifest import Manifest
from ..token_shards.webdataset_format import StoredSample

NO_PLACE = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)
"""Errors of writing that concern one image alone."""


class Maker(NamedTuple):
    """What makes the images of a folder."""

    tokenizer: Tokenizer
    is_native: bool
    digest: str
    """SHA-256 of all that decides the pixels."""


class Job(NamedTuple):
    """An image to make."""

    sample: StoredSample
    path: Path
    where: str
    """Shard and key, for messages."""
    maker: Maker


class Made(NamedTuple):
    """Tokens that were checked, and the image that they stand for."""

    job: Job
    tokens: np.ndarray
    width: int
    height: int
    mark: str


def maker_for(folder: Path, manifest: Manifest, tokenizer: Tokenizer, model: str) -> Maker:
    """Return what makes the images of a folder; raise ValueError when another tokenizer made its tokens."""
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


def checked(jobs: Iterable[Job], failures: list[str]) -> Iterator[Made]:
    """Read tokens and check that they are those of the tokenizer; what is wrong with others is appended to `failures`."""
    for job in jobs:
        try:
            yield _check(job)
        except ValueError as error:
            failures.append(f"{job.where}: {error}")


def batches(images: Iterator[Made]) -> Iterator[list[Made]]:
    """Group neighbours of one tokenizer and one grid."""
    batch: list[Made] = []
    for made in chain(images, [None]):
        if batch and (made is None or _closes(batch, made)):
            yield batch
            batch = []
        if made is not None:
            batch.append(made)


def decoded(batch: list[Made]) -> list[Image.Image]:
    """Return the images of a batch, which may be empty."""
    if not batch:
        return []
    tokens = np.stack([made.tokens for made in batch]).astype(np.int64)
    return batch[0].job.maker.tokenizer.decode(torch.from_numpy(tokens))


def save(made: Made, image: Image.Image) -> str:
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


def _closes(batch: list[Made], made: Made) -> bool:
    first = batch[0]
    if first.tokens.shape != made.tokens.shape or first.job.maker is not made.job.maker:
        return True
    side = first.job.maker.tokenizer.downsample
    return len(batch) == batch_for(DEVICE_BATCH, *(extent * side for extent in first.tokens.shape[1:]))
