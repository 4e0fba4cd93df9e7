"""Means of scalars over the steps since the last line of the log."""

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor


class RunningMeans:
    """Sums scalars by log path on the device of this process, without a sync until `summarise`."""

    def __init__(self, accelerator: Accelerator):
        self._accelerator = accelerator
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self.steps = 0
        """Steps since the last line of the log."""

    def add(self, scalars: Mapping[str, Tensor]) -> None:
        """Take in the scalars of one step of this process; steps may have different scalars."""
        self.steps += 1
        for name, value in scalars.items():
            value = value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def summarise(self) -> dict[str, float]:
        """Return the mean of each scalar over its steps and all processes, and reset; every process must call it."""
        means = torch.stack([self._sums[name] / self._counts[name] for name in self._sums])
        reduced = self._accelerator.reduce(means, reduction="mean")
        assert isinstance(reduced, Tensor)
        values = dict(zip(self._sums, reduced.tolist(), strict=True))
        self._sums, self._counts, self.steps = {}, {}, 0
        return values

    def rank_state_dict(self) -> dict[str, Any]:
        return {"sums": dict(self._sums), "counts": dict(self._counts), "steps": self.steps}

    def load_rank_state_dict(self, state: dict[str, Any]) -> None:
        self._sums = {name: value.to(self._accelerator.device) for name, value in state["sums"].items()}
        self._counts, self.steps = dict(state["counts"]), state["steps"]
