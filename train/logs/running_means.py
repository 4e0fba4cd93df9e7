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
        self._counts: dict[str, int | Tensor] = {}
        self.steps = 0
        """Steps since the last line of the log."""

    def add(self, scalars: Mapping[str, Tensor], skip: Tensor | None = None) -> None:
        """Take in the scalars of one step of this process; steps may have different scalars.

        Where the boolean scalar `skip` is true, they do not count.
        """
        self.steps += 1
        self.add_more(scalars, skip)

    def add_more(self, scalars: Mapping[str, Tensor], skip: Tensor | None = None) -> None:
        """Take in other scalars of the same step, which may be skipped when the first ones are not."""
        for name, value in scalars.items():
            value = value.detach().float()
            if skip is not None:
                value = torch.where(skip, 0, value)
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + (1 if skip is None else ~skip)

    def summarise(self) -> dict[str, float]:
        """Return the mean of each scalar over its steps and all processes, and reset; every process must call it.

        A scalar without a step that counts is left out.
        """
        values: dict[str, float] = {}
        if self._sums:
            means = torch.stack([self._sums[name] / self._counts[name] for name in self._sums])
            reduced = self._accelerator.reduce(means, reduction="mean")
            assert isinstance(reduced, Tensor)
            values = dict(zip(self._sums, reduced.tolist(), strict=True))
        counted = {name for name, count in self._counts.items() if int(count)}
        self._sums, self._counts, self.steps = {}, {}, 0
        return {name: value for name, value in values.items() if name in counted}

    def rank_state_dict(self) -> dict[str, Any]:
        return {"sums": dict(self._sums), "counts": dict(self._counts), "steps": self.steps}

    def load_rank_state_dict(self, state: dict[str, Any]) -> None:
        device = self._accelerator.device
        self._sums = {name: value.to(device) for name, value in state["sums"].items()}
        counts = state["counts"].items()
        self._counts = {name: count.to(device) if isinstance(count, Tensor) else count for name, count in counts}
        self.steps = state["steps"]
