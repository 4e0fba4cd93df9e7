"""What all sections share: lines of measurements, and time measured properly on whatever device there is."""

import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .lines import write_line

ROOT = Path(__file__).parents[2]
DEVICE = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
ROUNDS = 5
LAST_SECONDS = 2.0
"""Seconds at the end of a section for what a program that was ended has left."""


class Check(NamedTuple):
    """One section in progress: where its lines go, how large its work is, and when it must end."""

    section: str
    out: Path
    is_small: bool
    ends_at: float
    """Value of time.time() at which the section is killed."""
    options: dict[str, str]
    """Paths that were given: photos, validation, perceptual."""

    def write(self, name: str, **facts: Any) -> None:
        """Append a line; the process may be killed at any moment."""
        write_line(self.out, self.section, name, **facts)

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Go on after an error, which becomes a line: one measurement that fails costs no other."""
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            self.write(name, error=f"{type(error).__name__}: {str(error)[-300:]}")
            with suppress(RuntimeError):  # raised again by a device that a kernel has broken
                if DEVICE.type == "cuda":
                    torch.cuda.empty_cache()

    def seconds_left(self) -> float:
        """Return the seconds until the section is killed."""
        return self.ends_at - time.time()

    def child_seconds(self) -> float:
        """Return the seconds that a program may take, so that what it left can still be written."""
        return self.seconds_left() - LAST_SECONDS


def synchronize() -> None:
    """Wait for the device."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def seconds_of(work: Callable[[], object], repeats: int = 1, rounds: int = ROUNDS) -> float:
    """Return the median seconds of one call, of `rounds` rounds of `repeats` calls in a row, after two calls to warm up."""
    for _ in range(2):
        work()
    return statistics.median(_round(work, repeats) for _ in range(rounds))


def _round(work: Callable[[], object], repeats: int) -> float:
    synchronize()
    started = time.perf_counter()
    if DEVICE.type == "cuda":
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
    for _ in range(repeats):
        work()
    if DEVICE.type == "cuda":
        stop.record()
        synchronize()
        return start.elapsed_time(stop) / 1000 / repeats
    return (time.perf_counter() - started) / repeats


def wall_seconds(work: Callable[[], object]) -> float:
    """Return the seconds of work that ends with its results on the host, the second time."""
    work()
    synchronize()
    started = time.perf_counter()
    work()
    synchronize()
    return time.perf_counter() - started
