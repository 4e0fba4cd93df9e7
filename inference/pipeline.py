"""Pictures to token shards on this machine: reading in threads ahead of the encoder, writing a shard when it is whole."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..images.opening import PictureError, open_picture
from ..images.preprocessing import preprocess, to_pixels
from ..tokenizer.preprocessing import PreprocessingConfig
from ..tokenizer.shapes import Tokens
from ..tokenizer.usage import count_tokens
from .forward import Encode
from .plan import Plan, PlannedShard, Sample
from .shards import Failure, Manifest, TokenSample, read_sidecar, token_dtype, write_shard

Item = TypeVar("Item")
Result = TypeVar("Result")


class ReadPicture(NamedTuple):
    """A picture as the encoder takes it."""

    sample: Sample
    pixels: np.ndarray
    """uint8 `h w c`, preprocessed."""
    width: int
    height: int


class Progress(NamedTuple):
    """How far a run is, told after every batch and every shard."""

    pictures: int
    failures: int
    shards: int


class Totals(NamedTuple):
    """What a run did, the shards that were done before it left out."""

    shards: int
    shards_done_before: int
    pictures: int
    failures: list[Failure]
    seconds: float
    counts: Tensor
    """How often each code was used, `q k`."""


class StoppedOnError(RuntimeError):
    """A picture failed and the user asked to stop at the first failure."""


def tokenize_shards(
    shards: list[PlannedShard],
    folder: Path,
    manifest: Manifest,
    encode: Encode,
    *,
    batch_size: int,
    workers: int,
    encoders: int,
    stop_on_error: bool,
    report: Callable[[Progress], None],
) -> Totals:
    """Tokenize the shards that are not done and write each with its sidecar.

    `workers` threads read pictures ahead; with more than one of `encoders`, as many threads encode a batch each. Raises
    ValueError when a done shard was made from other inputs, StoppedOnError, or OSError from the disk.
    """
    counts = torch.zeros(manifest.num_codebooks, manifest.vocab_size, dtype=torch.int64)
    failures: list[Failure] = []
    done_before = pictures = 0
    started = time.perf_counter()
    config, multiple = manifest.preprocessing, manifest.downsample
    with ThreadPoolExecutor(workers) as readers, ThreadPoolExecutor(encoders) as encoding:
        for number, shard in enumerate(shards):
            if _is_done(folder, shard, manifest.fingerprint):
                done_before += 1
            else:
                tokens: list[TokenSample] = []
                failed: list[Failure] = []
                window = (encoders + 1) * batch_size + 2 * workers
                read = _ahead(readers, lambda sample: read_picture(sample, config, multiple), shard.samples(), window)
                batches = _batches(without_failures(read, failed, stop_on_error), batch_size)
                encoded = _encoded(encoding, batches, encode, encoders)
                for batch, grids in encoded:
                    counts += count_tokens(grids, manifest.vocab_size)
                    tokens += _token_samples(batch, grids, manifest)
                    report(Progress(pictures + len(tokens), len(failures) + len(failed), number))
                write_shard(folder, shard.name, tokens, failed, manifest.fingerprint, shard.inputs)
                pictures += len(tokens)
                failures += failed
            report(Progress(pictures, len(failures), number + 1))
    seconds = time.perf_counter() - started
    return Totals(len(shards) - done_before, done_before, pictures, failures, seconds, counts)


def read_picture(sample: Sample, config: PreprocessingConfig, multiple: int) -> ReadPicture | Failure:
    """Read and preprocess one picture; whatever is wrong with it becomes a Failure."""
    try:
        if sample.entry is None:
            raise PictureError("the sample has no file with a picture's ending")
        image = open_picture(sample.entry.read(), config.background)
        return ReadPicture(sample, preprocess(image, config, multiple), *image.size)
    except (PictureError, OSError, MemoryError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        return Failure(key=sample.key, source=sample.source, reason=reason)


def without_failures(
    read: Iterable[ReadPicture | Failure], failed: list[Failure], stop_on_error: bool = False
) -> Iterator[ReadPicture]:
    """Pass on the pictures and append the failures to `failed`, or raise StoppedOnError at the first."""
    for picture in read:
        if isinstance(picture, ReadPicture):
            yield picture
        elif stop_on_error:
            raise StoppedOnError(f"{picture.source}: {picture.reason} (--on-error skip goes on without it).")
        else:
            failed.append(picture)


def first_pictures(plan: Plan, config: PreprocessingConfig, multiple: int, count: int) -> list[ReadPicture]:
    """Return the first `count` pictures of a plan that can be read."""
    samples = (sample for shard in plan.shards for sample in shard.samples())
    read = (read_picture(sample, config, multiple) for sample in samples)
    return list(islice(without_failures(read, []), count))


def _is_done(folder: Path, shard: PlannedShard, fingerprint: str) -> bool:
    sidecar = read_sidecar(folder, shard.name)
    if sidecar is None:
        return False
    where, remedy = folder / sidecar.shard, "use another --out folder, or --overwrite."
    if sidecar.fingerprint != fingerprint:
        raise ValueError(
            f"{where} was made by the tokenizer {sidecar.fingerprint[:12]}, not by {fingerprint[:12]}: {remedy}"
        )
    if sidecar.inputs != shard.inputs:
        raise ValueError(f"{where} was made from other pictures than those given now: {remedy}")
    return True


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], window: int
) -> Iterator[Result]:
    """Apply a function in the threads of a pool, at most `window` items ahead; the results keep their order."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= window:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _batches(pictures: Iterable[ReadPicture], batch_size: int) -> Iterator[list[ReadPicture]]:
    """Group neighbours of the same size, up to `batch_size`."""
    batch: list[ReadPicture] = []
    for picture in pictures:
        if batch and (len(batch) == batch_size or batch[0].pixels.shape != picture.pixels.shape):
            yield batch
            batch = []
        batch.append(picture)
    if batch:
        yield batch


def _encoded(
    pool: ThreadPoolExecutor, batches: Iterable[list[ReadPicture]], encode: Encode, encoders: int
) -> Iterator[tuple[list[ReadPicture], Tokens]]:
    def work(batch: list[ReadPicture]) -> tuple[list[ReadPicture], Tokens]:
        return batch, _encode(batch, encode)

    return map(work, batches) if encoders == 1 else _ahead(pool, work, batches, encoders + 1)


def _encode(batch: list[ReadPicture], encode: Encode) -> Tokens:
    return encode(to_pixels(torch.from_numpy(np.stack([picture.pixels for picture in batch]))))


def _token_samples(batch: list[ReadPicture], grids: Tokens, manifest: Manifest) -> list[TokenSample]:
    dtype = token_dtype(manifest.vocab_size)
    return [
        TokenSample(
            picture.sample.key,
            grid.astype(dtype),
            {"source": picture.sample.source, "width": picture.width, "height": picture.height},
        )
        for picture, grid in zip(batch, grids.numpy(), strict=True)
    ]
