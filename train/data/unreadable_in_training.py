"""Unreadable images of a training run: counted over all processes, named once, and too many of them stop the run."""

from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from .config import DataConfig


class UnreadableSummary(NamedTuple):
    """The unreadable images since the last log line."""

    values: dict[str, float]
    """Scalars by log path."""
    warnings: list[str]
    """One sentence for each image that was not named before."""


class UnreadableInTraining:
    """Counts unreadable images over all processes; the checkpoint keeps which ones were named.

    `images` is the number of images in all sources. A run has drawn at most its crops and the images they replaced.
    """

    def __init__(self, config: DataConfig, images: int, accelerator: Accelerator):
        self._limit = config.unreadable_limit
        self._batch_size = config.batch_size
        self._images = images
        self._accelerator = accelerator
        self._named: set[str] = set()
        self._replaced = 0
        self._count = 0
        self._new: set[str] = set()

    def observe(self, unreadable: list[str]) -> None:
        """Add the images that this process could not read in one step."""
        self._count += len(unreadable)
        self._new |= set(unreadable) - self._named

    def summarise(self, step: int) -> UnreadableSummary:
        """Return the summary up to `step` and begin a new one; every process must call it.

        Raises WorkFailedError, on every process, if too many images are unreadable.
        """
        counts = torch.tensor([self._count, len(self._new)], device=self._accelerator.device)
        summed = self._accelerator.reduce(counts, reduction="sum")
        assert isinstance(summed, Tensor)
        count, new = summed.tolist()
        named = sorted(set(gather_object(list(self._new)))) if new else []
        self._named |= set(named)
        self._replaced += count
        self._count, self._new = 0, set()
        if named:
            drawn = min(step * self._batch_size + self._replaced, self._images)
            self._limit.check(len(self._named), self._images, named[-1], drawn)
        return UnreadableSummary({"data/unreadable": count}, [f"{each}: others take its place." for each in named])

    def state_dict(self) -> dict[str, Any]:
        return {"named": sorted(self._named), "replaced": self._replaced}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._named, self._replaced = set(state["named"]), state["replaced"]

    def rank_state_dict(self) -> dict[str, Any]:
        return {"count": self._count, "new": sorted(self._new)}

    def load_rank_state_dict(self, state: dict[str, Any]) -> None:
        self._count, self._new = state["count"], set(state["new"])
