"""Time and memory of two ways to the same result, in turn."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

ROUNDS = 3


def alternate(theirs: Callable[[], Tensor], ours: Callable[[], Tensor], end: float) -> dict[str, Any]:
    """Run both in turn, and return the results, the seconds of each round, and the memory that each needed in the first."""
    rounds: list[list[tuple[float, float]]] = []
    memory: list[int | None] = []
    results: list[Tensor] = []
    while not rounds or (len(rounds) < ROUNDS and time.perf_counter() < end):
        taken: dict[int, tuple[float, float]] = {}
        for which in (0, 1) if len(rounds) % 2 == 0 else (1, 0):
            before = reset_peak()
            start, worked = time.perf_counter(), time.process_time()
            result = (theirs, ours)[which]()
            taken[which] = time.perf_counter() - start, time.process_time() - worked
            if not rounds:
                memory.append(None if before is None else status("VmHWM") - before)
                results.append(result)
        rounds.append([taken[0], taken[1]])
    return {"rounds": rounds, "memory": memory, "results": results}


def timing(measured: dict[str, Any], images: int) -> dict[str, Any]:
    """Return the medians per image of the seconds and of the seconds that cores worked, and the memory above that before."""
    row: dict[str, Any] = {"rounds": len(measured["rounds"])}
    for which, name in enumerate(("reference", "vistok")):
        clock, cores = (
            statistics.median(values) / images
            for values in zip(*(each[which] for each in measured["rounds"]), strict=True)
        )
        row[name] = {"seconds": round(clock, 2), "core_seconds": round(cores, 2), "bytes": measured["memory"][which]}
    return row


def reset_peak() -> int | None:
    """Forget the peak of resident memory, on Linux, and return the resident memory in bytes; elsewhere None."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return status("VmRSS")
    except OSError:
        return None


def status(name: str) -> int:
    """Return a size in bytes that Linux knows of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
