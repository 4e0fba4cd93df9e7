"""From stored tokens to images: check them, decode them in batches, and save the images."""

import errno
import hashlib
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from ...images.opening.open_image import MAX_PIXELS
from ...images.saving import save_png
from ...images.sizes import original_box
from ...tokenizer.numerics.exact import DEVICE_BATCH, batch_for
from ..api import Tokenizer
from ..token_shards.formats import SHARD_FORMATS, ShardFormat
from ..token_shards.manifest import Manifest
from ..token_shards.store import Store
from ..token_shards.token_samples import StoredSample

PATH_ERRORS = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)
"""Errors of writing that concern the path of one image only."""


class FolderDecoder(NamedTuple):
    """The tokenizer that decodes the shards of a folder."""

    tokenizer: Tokenizer
    shard_format: ShardFormat
    digest: str
    """SHA-256 of everything that decides the pixels."""


class ImageJob(NamedTuple):
    """An image to decode."""

    sample: StoredSample
    path: Path
    where: str
    decoder: FolderDecoder


class CheckedImage(NamedTuple):
    """An image whose tokens were checked."""

    job: ImageJob
    tokens: np.ndarray
    width: int
    height: int
    mark: str
    """SHA-256 of tokens and decoder, saved in the PNG file."""


def folder_decoder(folder: Store, manifest: Manifest, tokenizer: Tokenizer, model: str) -> FolderDecoder:
    """Return the decoder of a folder; raise ValueError when another tokenizer made its tokens."""
    tokenizer = tokenizer.with_preprocessing(manifest.preprocessing)
    if tokenizer.fingerprint != manifest.fingerprint:
        raise ValueError(
            f"{folder} holds tokens of {manifest.model}, but {model} makes others: give --model the tokenizer that made them."
        )
    digest = hashlib.sha256(tokenizer.fingerprint.encode())
    for module in (tokenizer.model.quantizer_out, tokenizer.model.decoder):
        for name, value in sorted(module.state_dict().items()):
            digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return FolderDecoder(tokenizer, SHARD_FORMATS[manifest.format], digest.hexdigest())


def checked(jobs: Iterable[ImageJob], failures: list[str]) -> Iterator[CheckedImage]:
    """Read tokens and check that they fit the tokenizer; append a phrase to `failures` for those that do not."""
    for job in jobs:
        try:
            yield _check(job)
        except ValueError as error:
            failures.append(f"{job.where}: {error}")


def batches(images: Iterable[CheckedImage]) -> Iterator[list[CheckedImage]]:
    """Group neighbours of one folder and one size."""
    for (decoder, (_, y, x)), group in groupby(images, lambda image: (image.job.decoder, image.tokens.shape)):
        side = decoder.tokenizer.downsample
        while batch := list(islice(group, batch_for(DEVICE_BATCH, y * side, x * side))):
            yield batch


def decoded(batch: list[CheckedImage]) -> list[Image.Image]:
    """Return the images of a batch, none for an empty one."""
    if not batch:
        return []
    tokens = np.stack([image.tokens for image in batch]).astype(np.int64)
    return batch[0].job.decoder.tokenizer.decode(torch.from_numpy(tokens))


def save(image: CheckedImage, pixels: Image.Image) -> str:
    """Write an image and return "", or the reason when its path cannot be written to."""
    job = image.job
    tokenizer = job.decoder.tokenizer
    if box := original_box(tokenizer.config.preprocessing, image.height, image.width, tokenizer.downsample):
        pixels = pixels.crop(box)
    try:
        save_png(job.path, pixels, image.mark)
    except OSError as error:
        if error.errno not in PATH_ERRORS:
            raise
        return f"{job.where}: {job.path} cannot be written ({error.strerror})"
    return ""


def _check(job: ImageJob) -> CheckedImage:
    metadata = job.sample.metadata()
    width, height = metadata["width"], metadata["height"]
    tokenizer = job.decoder.tokenizer
    if not tokenizer.config.preprocessing.side and width * height > MAX_PIXELS:
        raise ValueError(f"{width} x {height} is more than {MAX_PIXELS} pixels")
    tokens = job.sample.tokens()
    expected = (tokenizer.num_codebooks, *tokenizer.grid(height, width))
    if tokens.shape != expected:
        raise ValueError(f"the tokens are {tokens.shape}, but an image of {width} x {height} has {expected}")
    if int(tokens.max()) >= tokenizer.vocab_size:
        raise ValueError(f"a token is {int(tokens.max())}, but the codes are 0 to {tokenizer.vocab_size - 1}")
    mark = hashlib.sha256(
        f"{job.decoder.digest} {width} {height} {tokens.shape}".encode() + tokens.astype("<u8").tobytes()
    )
    return CheckedImage(job, tokens, width, height, mark.hexdigest())
