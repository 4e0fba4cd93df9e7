"""Seconds and peak memory of works that take turns."""

import ctypes
import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SHORT = 2.0
"""Seconds under which a work is measured more than once."""
FEWEST_TURNS, MAX_TURNS = 5, 25

Result = dict[str, float] | None


def measured(works: dict[str, Callable[[], object]]) -> dict[str, Result]:
    """Return seconds (median) and peak bytes beyond what was there before of each; None where memory does not suffice.

    All take turns, five to 25 each as two seconds allow, but for those of two seconds and more, which run once.
    """
    peaks, times = {}, {}
    for name, work in works.items():
        try:
            peaks[name] = _peak_bytes(work)
            times[name] = [_seconds(work)]
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        _tidy()
    for turn in range(1, MAX_TURNS):
        for name, taken in times.items():
            if taken[0] < SHORT and (turn < FEWEST_TURNS or sum(taken) < SHORT):
                taken.append(_seconds(works[name]))
    return {
        name: {"seconds": statistics.median(times[name]), "bytes": peaks[name]} if name in times else None
        for name in works
    }


def out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory does not suffice."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or "DefaultCPUAllocator: can't allocate memory" in str(error)


def _tidy() -> None:
    gc.collect()
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()


def _seconds(work: Callable[[], object]) -> float:
    if DEVICE.type == "cuda":
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        work()
        stop.record()
        torch.cuda.synchronize()
        return start.elapsed_time(stop) / 1000
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _peak_bytes(work: Callable[[], object]) -> float:
    if DEVICE.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated() - before
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is held now
    before = _status("VmRSS")
    work()
    return max(0.0, _status("VmHWM") - before)


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(name))) * 1024
