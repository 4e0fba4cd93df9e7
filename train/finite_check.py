"""Finds losses, gradients and weights that are not finite: single steps are skipped, and a run of many has diverged."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ..tokenizer.devices import over_ranks
from ..tokenizer.errors import WorkFailedError
from ..tokenizer.wording import pluralize
from .checkpoints.checkpoint import good_checkpoint
from .optimizer.skipping import Decision, decided

GRADIENT = "the norm of the gradient"
ELSEWHERE = -1.0
FLOAT16_STEPS = 16
"""Steps in which float16 halves the scale of the loss from 65,536 to 1, until gradients fit."""
MAX_FRACTION = 0.1
"""Fraction of the steps of a run that may be skipped in a row, whatever the limit: a short run ends sooner."""


class DivergedError(WorkFailedError):
    """Losses, gradients or weights of a run are not finite; weights of earlier steps may be finite and just as useless."""


class Finding(NamedTuple):
    """A step that was not finite."""

    step: int
    cause: int
    """Index of what was not finite among all names, or below 0 if it was on another process."""
    value: float


class FiniteCheck:
    """Decides on the device which steps of one network are skipped, and counts them there; `check` syncs, as `summarise` does.

    A step is skipped on all processes when its loss or its gradient is not finite on any. The state goes into the checkpoint.
    A network may take `steps_each` of its own for each step of the run; `limit` is of the run's.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        checkpoints: Path,
        limit: int,
        lr: str = "optimizer.lr",
        section: str = "optimizer",
        steps_each: int = 1,
    ):
        self._accelerator = accelerator
        self._checkpoints = checkpoints
        self._lr = lr
        self._section = section
        self._steps_each = steps_each
        self._scales = accelerator.scaler is not None
        self._limit = limit * steps_each + FLOAT16_STEPS * self._scales
        self._names: list[str] = []
        device = accelerator.device
        # Lengths and steps, which float32 holds exactly up to 2^24; causes and values of the first step of each.
        self._streak, self._window = torch.zeros(4, device=device), torch.zeros(4, device=device)
        self._ended = torch.zeros(4, device=device)

    def observe(
        self, step: int, losses: Mapping[str, Tensor], total: str, norm: Tensor, already: Tensor | None = None
    ) -> Decision:
        """Decide from the `total` loss and the norm of the gradient whether to skip a step; no device sync.

        The other losses name the cause. A step that is skipped `already`, where this boolean scalar is true, does not count.
        """
        causes = {name: value for name, value in losses.items() if name != total}
        values = torch.stack([value.detach().float() for value in (*causes.values(), losses[total], norm)])
        is_bad = ~values.isfinite()
        skip = is_bad[-2:].any()
        if self._accelerator.num_processes > 1:
            skip = over_ranks(skip.int(), "MAX").bool()
        if already is not None:
            is_bad = is_bad & ~already
            skip = skip & ~already
        first = is_bad.int().argmax()
        cause = torch.where(is_bad.any(), first + self._offset([*causes, total, GRADIENT]), ELSEWHERE)
        length = (self._streak[0] + 1) * skip
        now = torch.stack([length, torch.full_like(length, step), cause, values.gather(0, first[None])[0]])
        self._streak = torch.where(length == 1, now, self._streak)
        self._streak[0] = length
        ends = (length > self._limit) & (self._ended[0] == 0)
        self._ended = torch.where(ends, self._streak, self._ended)
        # Gradients that overflow float16 lower the scale of the loss: they are no news.
        counts = skip & (is_bad[:-1].any() | (not self._scales))
        window = torch.where(counts & (self._window[0] == 0), now, self._window)
        window[0] = self._window[0] + counts
        self._window = window
        return decided(skip if already is None else skip | already)

    def check(self) -> None:
        """Raise DivergedError if more steps in a row than the limit were skipped; every process must call it."""
        length, found = self._gathered(self._ended)
        if length:
            what = f"{self._named(found)} at step {found.step}"
            if self._limit:
                what += f", the first of {length} steps in a row that are not finite"
            raise diverged(what, self._lr, self._checkpoints)

    def summarise(self, steps: int) -> tuple[dict[str, float], list[str]]:
        """Return scalars by log path and warnings about skipped ones of the last `steps` of the run; all processes call it."""
        count, found = self._gathered(self._window)
        self._window = torch.zeros_like(self._window)
        if not count:
            return {}, []
        steps *= self._steps_each
        skipped = f"{count} of the last {pluralize(steps, 'step')}" if steps > 1 else "this step"
        verb = "were" if count > 1 else "was"
        return {f"{self._section}/skipped": count}, [
            f"{skipped} {verb} skipped: {self._named(found)} at step {found.step}; if it goes on, lower {self._lr}."
        ]

    def rank_state_dict(self) -> dict[str, Any]:
        return {"names": list(self._names), "counts": [self._streak, self._window, self._ended]}

    def load_rank_state_dict(self, state: dict[str, Any]) -> None:
        self._names = list(state["names"])
        device = self._accelerator.device
        self._streak, self._window, self._ended = (each.to(device) for each in state["counts"])

    def _offset(self, names: list[str]) -> int:
        """Return where a row of names begins among all names, which are those of the steps that differ."""
        for start in range(0, len(self._names) - len(names) + 1):
            if self._names[start : start + len(names)] == names:
                return start
        self._names += names
        return len(self._names) - len(names)

    def _gathered(self, counts: Tensor) -> tuple[int, Finding]:
        """Return a count, and what was first found, by a process that knows the cause."""
        gathered = self._accelerator.gather(counts[None])
        assert isinstance(gathered, Tensor)
        rows = gathered.tolist()
        count, step, cause, value = max(rows, key=lambda row: (row[0] > 0, row[2] >= 0))
        return int(count), Finding(int(step), int(cause), value)

    def _named(self, found: Finding) -> str:
        # Names have the same indices on all processes, which compute the same losses in the same order.
        name = self._names[found.cause] if found.cause >= 0 else "a loss of another process"
        return f"{name} is {found.value}"


def skipped_limit(limit: int, steps: int) -> int:
    """Return how many steps in a row may be skipped in a run of `steps` steps."""
    return min(limit, int(MAX_FRACTION * steps))


def check_weights(step: int, networks: Mapping[str, tuple[nn.Module, str]], checkpoints: Path) -> None:
    """Raise DivergedError if a parameter or buffer of a network is not finite after `step` steps; syncs.

    `networks` has the network and the learning rate to lower by name.
    """
    for name, (network, lr) in networks.items():
        if not is_finite(network):
            raise diverged(f"the weights of the {name} are not finite after step {step}", lr, checkpoints)


def diverged(what: str, lr: str, checkpoints: Path) -> DivergedError:
    """Return the error of a run that has diverged."""
    checkpoint, _ = good_checkpoint(checkpoints)
    kept = f"; the last good checkpoint is {checkpoint}" if checkpoint else ""
    return DivergedError(f"{what}: lower {lr}{kept}.")


def is_finite(network: nn.Module) -> bool:
    """Return whether all parameters and buffers are finite; syncs."""
    floating = [values for values in [*network.parameters(), *network.buffers()] if values.is_floating_point()]
    return math.isfinite(float(torch.stack([(values.detach() * 0).sum().float() for values in floating]).sum()))
