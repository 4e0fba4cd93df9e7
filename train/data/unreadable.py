"""The images of a run that could not be read: counted, named once, and too many of them end it."""

from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from .sources import DataConfig


class UnreadableWindow(NamedTuple):
    """What could not be read since the last line of the log."""

    values: dict[str, float]
    """Scalars by log path."""
    warnings: list[str]
    """Sentences about images that are named for the first time."""


class UnreadableImages:
    """Counts unreadable images over all processes; what has been named goes into the checkpoint.

    `images` is how many all sources have. A run has drawn at most its crops and the unreadable images that they replaced.
    """

    def __init__(self, config: DataConfig, images: int, accelerator: Accelerator):
        self._tolerance = config.tolerance
        self._batch_size = config.batch_size
        self._images = images
        self._accelerator = accelerator
        self._named: set[str] = set()
        self._replaced = 0
        self._count = 0
        self._new: set[str] = set()

    def observe(self, unreadable: list[str]) -> None:
        """Take in what this process could not read in one step."""
        self._count += len(unreadable)
        self._new |= set(unreadable) - self._named

    def summarise(self, step: int) -> UnreadableWindow:
        """Return the window that ends at `step` and begin a new one; every process must call it.

        Raises WorkFailedError, on every process, when more than the tolerated fraction cannot be read.
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
            self._tolerance.check_drawn(len(self._named), drawn, self._images, named[-1])
        return UnreadableWindow({"data/unreadable": count}, [f"{each}: others take its place." for each in named])

    def state_dict(self) -> dict[str, Any]:
        return {"named": sorted(self._named), "replaced": self._replaced}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._named, self._replaced = set(state["named"]), state["replaced"]

    def rank_state_dict(self) -> dict[str, Any]:
        return {"count": self._count, "new": sorted(self._new)}

    def load_rank_state_dict(self, state: dict[str, Any]) -> None:
        self._count, self._new = state["count"], set(state["new"])
