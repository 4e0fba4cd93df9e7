"""What a platform lacks: each thing that one system has and another has not, taken away."""

import mmap
import os
import platform
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from vistok.tokenizer import system
from vistok.tokenizer.system import (
    after_fork_in_child,
    anonymous_file,
    flush_path,
    keep_freed_memory,
    lock_file,
    open_without_waiting,
    return_freed_memory,
    share_one_heap,
    usable_cores,
)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs fifos")
def test_a_fifo_opens_without_a_writer(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    open_without_waiting(str(tmp_path / "fifo")).close()


def test_a_file_opens_where_the_system_has_no_such_flag(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_NONBLOCK", raising=False)
    (tmp_path / "file").write_bytes(b"content\r\n")
    with open_without_waiting(str(tmp_path / "file")) as file:
        assert file.read() == b"content\r\n"


@pytest.mark.parametrize("is_linux", [True, False])
def test_an_anonymous_file_is_zeros_that_can_be_mapped_twice(monkeypatch, is_linux):
    if not is_linux:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    descriptor = anonymous_file(8192)
    try:
        with mmap.mmap(descriptor, 8192) as first, mmap.mmap(descriptor, 8192) as second:
            assert bytes(first) == bytes(8192)
            first[5000] = 7
            assert second[5000] == 7
    finally:
        os.close(descriptor)


def test_cores_are_those_of_the_process_or_of_the_machine(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert usable_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert usable_cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1


def test_without_fork_there_is_nothing_to_do_after_one(monkeypatch):
    registered = []
    monkeypatch.setattr(os, "register_at_fork", lambda after_in_child: registered.append(after_in_child), raising=False)
    after_fork_in_child(print)
    assert registered == [print]
    monkeypatch.delattr(os, "register_at_fork")
    after_fork_in_child(registered.clear)
    assert len(registered) == 1


@pytest.mark.parametrize(("is_windows", "flushed"), [(False, ["folder", "file"]), (True, ["file"])])
def test_windows_flushes_no_folder(tmp_path, monkeypatch, is_windows, flushed):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("content")
    names, opened = [], os.open
    monkeypatch.setattr(os, "open", lambda path, flags: names.append(path.name) or opened(path, flags))
    monkeypatch.setattr(system, "IS_WINDOWS", is_windows)
    for name in ("folder", "file"):
        flush_path(tmp_path / name)
    assert names == flushed


def test_without_flock_a_byte_far_behind_the_content_is_locked(tmp_path, monkeypatch):
    locked = set()

    def locking(descriptor, mode, count):
        position = os.lseek(descriptor, 0, os.SEEK_CUR)
        if (mode, position, count) in locked:
            raise PermissionError(13, "Permission denied")
        locked.add((mode, position, count))

    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    with open(tmp_path / "lock", "w+b") as file:
        file.write(b"held by me")
        file.flush()
        assert lock_file(file.fileno()) and not lock_file(file.fileno())
    assert locked == {(2, system.LOCKED_BYTE, 1)} and (tmp_path / "lock").read_bytes() == b"held by me"


@pytest.mark.parametrize("library", [SimpleNamespace(), None])
def test_without_glibc_freed_memory_stays_where_it_is(monkeypatch, library):
    def load(_):
        if library is None:
            raise TypeError("Windows wants a name")
        return library

    monkeypatch.setattr("ctypes.CDLL", load)
    return_freed_memory()
    keep_freed_memory()
    share_one_heap()
    calls = []
    monkeypatch.setattr("ctypes.CDLL", lambda _: SimpleNamespace(malloc_trim=calls.append))
    return_freed_memory()
    assert calls == [0]


FAULTS = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from vistok.tokenizer.system import keep_freed_memory, share_one_heap

def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        bytearray(b"x") * (100 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "kept":
    share_one_heap()
    keep_freed_memory()
with ThreadPoolExecutor(1) as pool:
    pool.submit(pages).result()
    print(pool.submit(pages).result())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_a_thread_that_frees_a_large_block_gets_it_again():
    """Blocks that come fresh from the system cost a page fault per page."""
    faults = {
        how: int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True, text=True).stdout)
        for how in ("returned", "kept")
    }
    assert faults["kept"] < 100 <= faults["returned"]


def test_kills_for_lack_of_memory_are_counted_for_the_container_or_the_machine(tmp_path, monkeypatch):
    assert system.memory_kills() is None or system.memory_kills() >= 0
    (tmp_path / "own").write_text("0::/jobs/7\n")
    (tmp_path / "jobs" / "7").mkdir(parents=True)
    (tmp_path / "vmstat").write_text("nr_free_pages 1\noom_kill 8\n")
    for name, value in (("OWN_GROUP", "own"), ("GROUPS", "."), ("MEMORY_COUNTS", "vmstat")):
        monkeypatch.setattr(system, name, tmp_path / value)
    assert system.memory_kills() == 8
    (tmp_path / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    assert system.memory_kills() == 2
    (tmp_path / "jobs" / "7" / "memory.events").write_text("oom 1\noom_kill 1\n")
    assert system.memory_kills() == 1


def test_a_process_that_has_ended_does_not_exist_even_where_nobody_has_asked_for_its_exit_code():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert system.process_exists(process.pid) and system.process_exists(1)
    process.stdin.close()
    until = time.monotonic() + 20
    while system.process_exists(process.pid) and time.monotonic() < until:
        time.sleep(0.01)
    assert not system.process_exists(process.pid)
    process.wait()
    assert not system.process_exists(process.pid)
