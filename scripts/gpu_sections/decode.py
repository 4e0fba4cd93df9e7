"""Images per second from tokens to pixels, exactly, and from tokens to files as detokenize-images writes them."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vistok.images.saving import png_bytes
from vistok.inference.api import Tokenizer
from vistok.inference.detokenize.checking import FolderDecoder, ImageJob
from vistok.inference.detokenize.stream import Tally, save_images
from vistok.inference.token_shards.formats import SHARD_FORMATS
from vistok.inference.token_shards.token_samples import StoredSample
from vistok.tokenizer.preprocessing import PreprocessingConfig

from .check import DEVICE, Check, wall_seconds
from .encode import rate
from .models import MODELS, Measured

BATCHES = (None, 16, 256)
"""Values of --batch-size, the default first."""


def run(check: Check) -> None:
    """Decode to tensors on the device, to images on the host and to files, and one image alone."""
    for make in MODELS[:2]:
        with check.attempt(make.__name__):
            model = make(check.is_small)
            decode(check, model)
            if model.name == "photo-f8":
                with check.attempt("detokenize-images"):
                    to_files(check, model)


def decode(check: Check, model: Measured) -> None:
    """Decode random tokens."""
    tokenizer = model.tokenizer
    tokens = random_tokens(model, 2 if check.is_small else 256 if model.name == "photo-f8" else 64)
    for output, name in (("tensor", "decode to tensors"), ("pil", "decode to images")):
        work = partial(_decode, tokenizer, tokens, output)
        rate(check, model, name, work, flop=model.decoder_flop, exact=True)
    alone = partial(_decode, tokenizer, tokens[:1], "tensor")
    rate(check, model, "decode one image", alone, flop=model.decoder_flop, exact=True)


def to_files(check: Check, model: Measured) -> None:
    """Decode random tokens to PNG files in each batch size, and compress the same images alone, in as many threads."""
    tokens = random_tokens(model, 4 if check.is_small else 1024)
    for size in BATCHES[:1] if check.is_small else BATCHES:
        work = partial(_save, model, tokens, size)
        rate(check, model, "decode to files", work, flop=model.decoder_flop, exact=True, batch=size or "default")
    images = model.tokenizer.decode(tokens)
    seconds = wall_seconds(partial(_compress, images))
    check.write(f"{model.name} PNG alone", value=len(images) / seconds, unit="images/s", side=model.side)


def random_tokens(model: Measured, count: int) -> torch.Tensor:
    """Return tokens of the model's side, on the CPU."""
    tokenizer = native(model)
    grid = tokenizer.grid(model.side, model.side)
    return torch.randint(tokenizer.vocab_size, (count, tokenizer.num_codebooks, *grid))


def native(model: Measured) -> Tokenizer:
    """Return the tokenizer for images of any side."""
    return model.tokenizer.with_preprocessing(PreprocessingConfig(size="native"))


def _decode(tokenizer: Tokenizer, tokens: torch.Tensor, output: str) -> int:
    return len(tokenizer.decode(tokens, output=output))


def _save(model: Measured, tokens: torch.Tensor, batch_size: int | None) -> int:
    with tempfile.TemporaryDirectory() as folder:
        tally = Tally(lambda _: None)
        save_images(_jobs(model, tokens.numpy(), Path(folder)), batch_size, tally, DEVICE.type)
    assert not tally.failures, tally.failures[0]
    return tally.written


def _jobs(model: Measured, grids: np.ndarray, folder: Path) -> Iterator[ImageJob]:
    decoder = FolderDecoder(native(model), SHARD_FORMATS["wds"], "digest")
    metadata = {"source": "", "width": model.side, "height": model.side}
    for index, grid in enumerate(grids):
        sample = StoredSample(str(index), partial(grid.astype, np.uint32), lambda: metadata)
        yield ImageJob(index, sample, folder / f"{index}.png", str(index), decoder)


def _compress(images: list[Image.Image]) -> None:
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(png_bytes, images):
            pass
