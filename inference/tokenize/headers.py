"""The sizes of images from their headers, before any pixel is decoded."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeAlias

from ...images.file_entry import IN_MEMORY, Entry
from ...images.opening.open_image import ImageError, upright_size
from ...images.prefetch import ahead
from ...images.remote_entry import HeldEntry
from ...images.sizes import network_size
from ...tokenizer.preprocessing import PreprocessingConfig
from ..inputs.readers import HELD_BYTES
from ..inputs.samples import Sample
from .batching import Item, needs_reading
from .shard_work import ShardWork

HEADERS_AHEAD = 256
"""Images whose headers are read ahead."""
Size: TypeAlias = tuple[int, int]


class Sized(NamedTuple):
    """An item of the stream, with the size `height width` that its image has after preprocessing."""

    work: ShardWork
    sample: Sample | None
    size: Size | None
    """None where it is not needed, or cannot be known from the headers."""


def read_headers(
    items: Iterable[Item], config: PreprocessingConfig, downsample: int, threads: ThreadPoolExecutor
) -> Iterator[Sized]:
    """Yield the items with their sizes, in order, read ahead in threads.

    A file that is not of this machine is read whole, so that it crosses the network once. Such files have HELD_BYTES at most,
    while they wait here.
    """
    return ahead(
        threads, partial(_sized, config=config, downsample=downsample), items, HEADERS_AHEAD, _held, HELD_BYTES
    )


def _sized(item: Item, config: PreprocessingConfig, downsample: int) -> Sized:
    work, sample = item
    if sample is None or sample.entry is None or _is_too_large(sample) or not needs_reading(work, sample):
        return Sized(work, sample, None)
    try:
        if not isinstance(sample.entry, Entry | HeldEntry):
            sample = replace(sample, entry=HeldEntry(sample.entry.read(), sample.entry.name))
        entry = sample.entry
        assert entry
        with entry.open_on_demand() if isinstance(entry, Entry) else entry.open() as file:
            width, height = upright_size(file)
    except (ImageError, OSError, MemoryError):
        return Sized(work, sample, None)  # reading it will say what is wrong
    return Sized(work, sample, network_size(config, height, width, downsample))


def _is_too_large(sample: Sample) -> bool:
    """Return whether reading a file of a network whole would take too much memory."""
    entry = sample.entry
    return entry is not None and not isinstance(entry, Entry) and entry.size > IN_MEMORY


def _held(item: Item) -> int:
    """Return the bytes that an item has in memory once its headers are read."""
    sample = item[1]
    if sample is None or sample.entry is None or isinstance(sample.entry, Entry) or _is_too_large(sample):
        return 0
    return max(0, sample.entry.size)
