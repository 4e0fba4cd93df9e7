"""Whatever depends on the platform: devices, float types, and what an operating system has or lacks."""

import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal

import torch
from torch import Tensor, distributed

IS_WINDOWS = os.name == "nt"
CPU_INFO = Path("/proc/cpuinfo")
LOCKED_BYTE = 1 << 30
"""The byte that a lock covers on Windows, where locked bytes cannot be read: beyond the content."""


def default_device() -> torch.device:
    """Return CUDA where there is a GPU, else the CPU; Apple's GPU is used only where it is asked for."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def find_device(device: Any) -> torch.device:
    """Return a device by its name, "auto" being the default; raise ValueError when it cannot be used here."""
    try:
        found = default_device() if device == "auto" else torch.device(device)
        torch.zeros(1, device=found).item()  # which the meta device, without values, refuses
    except (RuntimeError, AssertionError, TypeError):
        usable = " or ".join(usable_devices())
        raise ValueError(f"Device {str(device)!r} cannot be used on this machine: use {usable}.") from None
    return found


def usable_devices() -> list[str]:
    """Return the types of device that this machine has, the CPU first."""
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [name for name, is_there in has.items() if is_there]


def is_distributed() -> bool:
    """Return whether this process is one of a group of torch.distributed, which can reduce values."""
    return distributed.is_available() and distributed.is_initialized()


def over_ranks(value: Tensor, operation: Literal["SUM", "MAX"] = "SUM") -> Tensor:
    """Return the sum or the max of a value over all processes, without gradients; the value itself where there is one."""
    if not is_distributed():
        return value
    total = value.clone()
    distributed.all_reduce(total, getattr(distributed.ReduceOp, operation))
    return total


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether a device has instructions for bfloat16; without them it is far slower than float32.

    A CPU is asked through Linux; on other systems the answer is no.
    """
    if device.type == "cpu":
        flags = cpu_info().get("flags", "").split()
        return "avx512_bf16" in flags or "amx_bf16" in flags
    return device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)


def widest_float(device: torch.device) -> torch.dtype:
    """Return float64, or float32 on Apple's GPU, which has no wider type."""
    return torch.float32 if device.type == "mps" else torch.float64


def in_float64(values: Tensor) -> Tensor:
    """Return values in float64, on the CPU where their device has no such type."""
    return (values.cpu() if widest_float(values.device) != torch.float64 else values).double()


def cpu_info() -> dict[str, str]:
    """Return what Linux says of the first processor, by name; nothing on other systems."""
    if not CPU_INFO.exists():
        return {}
    lines = CPU_INFO.read_text().split("\n\n")[0].splitlines()
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def usable_cores() -> int:
    """Return the cores that this process may use, which a container or a scheduler can limit on Linux."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def after_fork_in_child(function: Callable[[], None]) -> None:
    """Call a function in each forked child, on systems that fork: a lock held by another thread would stay closed there."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


def open_without_waiting(path: str) -> BinaryIO:
    """Open a file for reading; a fifo opens at once, where it would wait for a writer. Windows has no fifos among its files."""
    flag = getattr(os, "O_NONBLOCK", 0)
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | flag))


def lock_file(descriptor: int) -> bool:
    """Lock an open file without waiting, until it is closed; return False when another process has it locked."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # Windows
        import msvcrt

        os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        except OSError:
            return False
    except BlockingIOError:
        return False
    return True


def flush_path(path: Path) -> None:
    """Return when a file or the names in a folder are on the disk; Windows, which flushes no folder, skips those."""
    if IS_WINDOWS and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if IS_WINDOWS else os.O_RDONLY)  # Windows flushes what is open for writing
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def return_freed_memory() -> None:
    """Have the C library give freed memory back to the system, where it is glibc, which may keep gigabytes."""
    with suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
