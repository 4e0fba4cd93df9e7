"""The images of token shards before they are decoded: which tokenizer decodes them, and whether their tokens fit it."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...images.opening.open_image import MAX_PIXELS
from ...tokenizer.decoders.base import PLAIN
from ..api import Tokenizer
from ..arithmetic import PLAIN_DECODER, DecoderChoice
from ..decoders import chosen_decoder
from ..token_shards.formats import SHARD_FORMATS, ShardFormat
from ..token_shards.manifest import Manifest
from ..token_shards.store import Store
from ..token_shards.token_samples import StoredSample


class FolderDecoder(NamedTuple):
    """The tokenizer that decodes the shards of a folder."""

    tokenizer: Tokenizer
    shard_format: ShardFormat
    digest: str
    """SHA-256 of everything that decides the pixels."""
    chosen: DecoderChoice = PLAIN_DECODER
    """Which of the tokenizer's decoders, with which seed."""


class ImageJob(NamedTuple):
    """An image to decode."""

    number: int
    """Among the images of all shards."""
    sample: StoredSample
    path: Path
    where: str
    decoder: FolderDecoder


class CheckedImage(NamedTuple):
    """An image whose tokens were read and checked; its shard may be closed."""

    number: int
    path: Path
    where: str
    decoder: FolderDecoder
    tokens: np.ndarray
    """`q y x`."""
    width: int
    height: int
    mark: str
    """SHA-256 of tokens, decoder and seed, saved in the PNG file."""


def folder_decoder(
    folder: Store, manifest: Manifest, tokenizer: Tokenizer, model: str, chosen: DecoderChoice = PLAIN_DECODER
) -> FolderDecoder:
    """Return the decoder of a folder; raise ValueError when another tokenizer made its tokens, or has no such decoder."""
    chosen = chosen_decoder(tokenizer.model, *chosen)
    tokenizer = tokenizer.with_preprocessing(manifest.preprocessing)
    if tokenizer.fingerprint != manifest.fingerprint:
        raise ValueError(
            f"{folder} holds tokens of {manifest.model}, but {model} makes others: give --model the tokenizer that made them."
        )
    digest = hashlib.sha256(tokenizer.fingerprint.encode())
    modules = [tokenizer.model.quantizer_out, tokenizer.model.decoder]
    if chosen.name != PLAIN:
        extra = tokenizer.model.extra_decoder(chosen.name)
        modules.append(extra)
        digest.update(f"{extra.config.name} {extra.scale} {extra.steps} {chosen.seed}".encode())
    for module in modules:
        for name, value in sorted(module.state_dict().items()):
            digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return FolderDecoder(tokenizer, SHARD_FORMATS[manifest.format], digest.hexdigest(), chosen)


def check(job: ImageJob) -> CheckedImage:
    """Read the tokens of an image; raise ValueError, with a phrase, when they do not fit the tokenizer."""
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
    return CheckedImage(job.number, job.path, job.where, job.decoder, tokens, width, height, mark.hexdigest())
