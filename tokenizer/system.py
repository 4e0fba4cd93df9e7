"""What an operating system has or lacks. Imports no torch, so that what reads images starts at once."""

import ctypes
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

IS_WINDOWS = os.name == "nt"
CPU_INFO = Path("/proc/cpuinfo")
OWN_GROUP = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")
MEMORY_COUNTS = Path("/proc/vmstat")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Parameters of glibc's mallopt."""
LOCKED_BYTE = 1 << 30
"""The byte that a lock covers on Windows, where locked bytes cannot be read: beyond the content."""


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


def anonymous_file(size: int) -> int:
    """Return the descriptor of a file of zeros without a name, which processes can map; on Linux it is in memory."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("vistok")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, size)
    return descriptor


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


def wait_for_lock(descriptor: int) -> None:
    """Lock an open file or folder, and wait while another writer has it; Windows and some network file systems let all in."""
    with suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)


def flush_path(path: Path) -> None:
    """Return when a file or the names in a folder are on the disk; Windows, which flushes no folder, skips those."""
    if IS_WINDOWS and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if IS_WINDOWS else os.O_RDONLY)  # Windows flushes what is open for writing
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that the memory of the machine or of a GPU is full.

    torch has an exception class for a GPU only.
    """
    message = str(error).lower() if isinstance(error, RuntimeError) else ""
    return isinstance(error, MemoryError) or "out of memory" in message or "allocate memory" in message


def process_exists(pid: int) -> bool:
    """Return whether there is a process that has not ended; not for Windows, where asking would end it."""
    with suppress(
        OSError, IndexError
    ):  # one that has ended keeps its number until its parent has asked for its exit code
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def memory_kills() -> int | None:
    """Return how many processes Linux has killed for lack of memory so far, in this container or on the machine, if it says."""
    group = ""
    with suppress(OSError):
        group = OWN_GROUP.read_text().strip().rpartition("0::/")[2]
    for path in (GROUPS / group / "memory.events", GROUPS / "memory.events", MEMORY_COUNTS):
        with suppress(OSError, ValueError, KeyError):
            return int(dict(line.split() for line in path.read_text().splitlines())["oom_kill"])
    return None


def return_freed_memory() -> None:
    """Have the C library give freed memory back to the system, where it is glibc, which may keep gigabytes."""
    with suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed_memory() -> None:
    """Have the C library reuse what this process frees, where it is glibc; see `share_one_heap`.

    glibc gives blocks above 32 MB back at once, and the system fills the next one with zeros page by page, which is up to 40 %
    of the work of a large network on a CPU.
    """
    _set_memory_option(M_TRIM_THRESHOLD, -1)
    _set_memory_option(M_MMAP_THRESHOLD, (1 << 31) - 1)


def share_one_heap() -> None:
    """Let all threads have one heap, where the C library is glibc; call it before others are started, also by numpy.

    The heaps that it gives them else hold blocks of 64 MB at most: larger ones of a thread are never kept.
    """
    _set_memory_option(M_ARENA_MAX, 1)


def _set_memory_option(parameter: int, value: int) -> None:
    with suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).mallopt(parameter, value)
