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

    On CUDA the seconds are those between two events of the device with nothing before them to wait for, so that they
    contain what launches cost; `host` is the median of seconds until a call returns. The first run warms up and is not
    counted. All take turns, five to 25 each as two seconds allow, but for those of two seconds and more, which run once.
    """
    peaks: dict[str, float] = {}
    times: dict[str, list[tuple[float, float]]] = {}
    for name, work in works.items():
        try:
            peaks[name] = _peak_bytes(work)
            if DEVICE.type == "cuda":  # the CPU needs no second one
                _seconds(work)
            times[name] = [_seconds(work)]
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        _tidy()
    for turn in range(1, MAX_TURNS):
        for name, taken in times.items():
            if taken[0][0] < SHORT and (turn < FEWEST_TURNS or sum(seconds for seconds, _ in taken) < SHORT):
                taken.append(_seconds(works[name]))
    return {name: _result(times[name], peaks[name]) if name in times else None for name in works}


def _result(times: list[tuple[float, float]], peak: float) -> dict[str, float]:
    seconds, host = (statistics.median(values) for values in zip(*times, strict=True))
    return {"seconds": seconds, "host": host, "bytes": peak}


def out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory does not suffice."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or "DefaultCPUAllocator: can't allocate memory" in str(error)


def _tidy() -> None:
    gc.collect()
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that a work took, and those until the call returned, which on a CPU are the same."""
    if DEVICE.type == "cuda":
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        started = time.perf_counter()
        start.record()
        work()
        stop.record()
        host = time.perf_counter() - started
        torch.cuda.synchronize()
        return start.elapsed_time(stop) / 1000, host
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    return seconds, seconds


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
