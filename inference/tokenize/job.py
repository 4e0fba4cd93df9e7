"""What engines take and return: plain data, so that a shard can be made in any process."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch

from ...tokenizer.shapes import Images, Tokens
from ...tokenizer.system import keep_freed_memory
from ..api import Tokenizer
from ..arithmetic import EXACT_ARITHMETIC
from ..batch_limit import BatchLimit, exact_network_batch, parse_limit, whole_batches
from ..fast import FastEncoder
from ..inputs.samples import Failure
from ..token_shards.formats import ShardFormat
from ..token_shards.manifest import Manifest
from ..token_shards.store import Store
from .collate import Collate, collate_for
from .limits import Waits

COMMON_SIDE = 256
"""Side of the images that a number of images means, where they differ in size."""
WAITING_BATCHES = 64
"""Batches of COMMON_SIDE whose images may wait for others of their size. Their shards are sealed no earlier."""
GPU_ENCODERS = 2
"""Threads that encode on a GPU: one prepares a batch, or unpacks the tokens of one, while the card is busy with another."""


def encoders_for(device_type: str, cores: int) -> int:
    """Return how many threads encode in a process that has some cores for itself: one per core of a CPU."""
    return {"cpu": cores, "cuda": GPU_ENCODERS}.get(device_type, 1)


class Placement(NamedTuple):
    """Where the shards of a call are made."""

    devices: tuple[str, ...] = ()
    """Devices of this machine, with a process for each where there are several; empty for that of the tokenizer."""
    processes: int = 1
    """Of a launch, which take these devices in turn."""
    is_cluster: bool = False
    """Whether they are devices of a Ray cluster; none means all that it has."""
    ray_address: str | None = None
    """Of an existing cluster."""
    readers: int | None = None
    """In each process of a cluster; None for one per core."""

    def __str__(self) -> str:
        if self.is_cluster:
            return f"a Ray cluster ({', '.join(self.devices) or 'all devices'})"
        return ", ".join(self.devices) + (f" in {self.processes} processes" if self.processes > 1 else "")


@dataclass(frozen=True)
class Job:
    """What all tasks of a call have in common; picklable."""

    out: Store
    manifest: Manifest
    tokenizer: Tokenizer
    shard_format: ShardFormat
    batch_size: int | BatchLimit
    """Images per batch, or a limit in tokens; no token depends on it, nor on the numbers of threads."""
    readers: int
    encoders: int
    reads_in_processes: bool = False
    """Whether readers are processes; no byte depends on it."""
    stop_on_error: bool = False
    placement: Placement = field(default_factory=Placement)
    waiting_images: int | None = None
    """Images that may wait for others of their size, so that batches are full; None for a number that suits the batches."""

    @property
    def waiting(self) -> int:
        """Images that may wait for others of their size: none where the networks take each image alone."""
        if self.waiting_images is not None:
            return self.waiting_images
        is_alone = self._network_batch(1, 1) == 1
        return 0 if is_alone else WAITING_BATCHES * self.capacity(COMMON_SIDE, COMMON_SIDE)

    def capacity(self, height: int, width: int) -> int:
        """Return how many images of a size go to the encoder together: whole batches of the networks."""
        limit = self.batch_size if isinstance(self.batch_size, BatchLimit) else BatchLimit(self.batch_size)
        images = limit.images(height, width, self.manifest.downsample)
        return whole_batches(images, self._network_batch(height, width))

    def _network_batch(self, height: int, width: int) -> int:
        if self.manifest.precision != EXACT_ARITHMETIC:
            return parse_limit(self.manifest.precision.split("-")[2]).images(height, width, self.manifest.downsample)
        return exact_network_batch(self.tokenizer.device.type, self.tokenizer.batch_size, height, width)

    @cached_property
    def encode(self) -> Callable[[Images], Tokens]:
        """The encoder of the manifest's precision, made once per process; on a CPU it limits torch to one thread."""
        if self.tokenizer.device.type == "cpu":
            # Each core encodes its own batch: threads that share one wait for each other at every layer.
            torch.set_num_threads(1)
            if self.manifest.preprocessing.side:  # blocks of one image are as large as those of the next
                keep_freed_memory()
        if self.manifest.precision == EXACT_ARITHMETIC:
            is_cpu = self.tokenizer.device.type == "cpu"
            return self.tokenizer.encode_pixels if is_cpu else lambda images: self.tokenizer.start_encoding(images)()
        return FastEncoder(self.tokenizer.model, self.tokenizer.device, self.manifest.precision)

    @cached_property
    def collate(self) -> Collate:
        """How the images of a batch are joined for the encoder."""
        return collate_for(self.tokenizer.device)

    def shard_file(self, name: str) -> str:
        """Return the name of an output shard: that of its first file."""
        return f"{name}{self.shard_format.suffixes[0]}"

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the encoder: compiled code does not pickle, and another process makes its own."""
        return {name: value for name, value in self.__dict__.items() if name != "encode"}


class CodeCounts(NamedTuple):
    """Which codes of a codebook occur in a shard, and how often: far less than its tokens."""

    slots: np.ndarray
    """Columns of `evaluation.usage.empty_counts`, which are the codes, or slots of a hash where there are too many."""
    numbers: np.ndarray
    """Occurrences of each, at least 1."""


class ShardResult(NamedTuple):
    """What became of one task, whose input has `samples` images."""

    name: str
    samples: int = 0
    images: int = 0
    """Images that were tokenized by this call."""
    rows: int = 0
    """Rows that these became."""
    failures: list[Failure] = []
    passed_over: Counter[str] = Counter()
    usage: tuple[CodeCounts, ...] = ()
    """How often each codebook's codes occur in the shard, in the order of the codebooks; empty when it has no image."""
    damage: str = ""
    """Why the input is damaged, in a sentence; nothing was written then."""
    unread: str = ""
    """Which file cannot be read at the moment, and why; nothing was written then."""
    unwritten: str = ""
    """Which file the store does not take, and why; its shard has no sidecar then."""
    lost: str = ""
    """Why it was given up: the workers that made it ended; nothing was written then."""
    waits: Waits = Waits()
    """What the engine waited for since its result before; all 0 where it does not measure that."""


class ShardProgress(NamedTuple):
    """How far one shard is, whose input has `samples` images."""

    name: str
    samples: int
    images: int = 0
    """Images that are done, failures included."""
    failures: int = 0


Report: TypeAlias = Callable[[ShardProgress], None]
"""Receives the progress of a shard; cheap, to be called from one thread."""
