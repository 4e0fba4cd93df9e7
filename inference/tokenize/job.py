"""What engines take and return: plain data, so that a shard can be made in any process."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch

from ...tokenizer.shapes import Images, Tokens
from ...tokenizer.system import usable_cores
from ..api import Tokenizer
from ..arithmetic import EXACT_ARITHMETIC
from ..fast import FastEncoder
from ..inputs.samples import Failure
from ..token_shards.formats import ShardFormat
from ..token_shards.manifest import Manifest
from ..token_shards.store import Store
from .collate import Collate, collate_for
from .limits import Waits

GPU_ENCODERS = 2
"""Threads that encode on a GPU: one prepares a batch, or unpacks the tokens of one, while the card is busy with another."""


def encoders_for(device: torch.device) -> int:
    """Return how many threads encode: one per core of a CPU."""
    return {"cpu": usable_cores(), "cuda": GPU_ENCODERS}.get(device.type, 1)


@dataclass(frozen=True)
class Job:
    """What all tasks of a call have in common; picklable."""

    out: Store
    manifest: Manifest
    tokenizer: Tokenizer
    shard_format: ShardFormat
    batch_size: int
    """Images per batch; no token depends on it, nor on the numbers of threads."""
    readers: int
    encoders: int
    reads_in_processes: bool = False
    """Whether readers are processes; no byte depends on it."""
    stop_on_error: bool = False

    @cached_property
    def encode(self) -> Callable[[Images], Tokens]:
        """The encoder of the manifest's precision, made once per process; on a CPU it limits torch to one thread."""
        if self.tokenizer.device.type == "cpu":
            # Each core encodes its own batch: threads that share one wait for each other at every layer.
            torch.set_num_threads(1)
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


class ShardResult(NamedTuple):
    """What became of one task, whose input has `samples` images."""

    name: str
    samples: int = 0
    images: int = 0
    """Images that were tokenized by this call."""
    failures: list[Failure] = []
    passed_over: Counter[str] = Counter()
    tokens: np.ndarray | None = None
    """All tokens of the shard, `q n`, for the usage of the codebooks; None when it has no image."""
    damage: str = ""
    """Why the input is damaged, in a sentence; nothing was written then."""
    unread: str = ""
    """Which file cannot be read at the moment, and why; nothing was written then."""
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
