"""What a platform lacks: each thing that one system has and another has not, taken away."""

import os
import sys
from types import SimpleNamespace

import pytest
import torch

from vistok.tokenizer import devices
from vistok.tokenizer.devices import (
    after_fork_in_child,
    cpu_info,
    default_device,
    find_device,
    flush_path,
    in_float64,
    lock_file,
    multiplies_bfloat16,
    open_without_waiting,
    return_freed_memory,
    usable_cores,
    widest_float,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize(("is_there", "name"), [(True, "cuda"), (False, "cpu")])
def test_the_default_device_is_a_gpu_where_there_is_one(monkeypatch, is_there, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: is_there)
    assert default_device() == torch.device(name)


def test_a_device_is_found_by_name():
    assert find_device("auto") == default_device() and find_device("cpu") == find_device(CPU) == CPU


@pytest.mark.parametrize("name", ["meta", "gpu", "cuda:99"])
def test_a_device_that_cannot_be_used_is_a_sentence(name):
    with pytest.raises(ValueError, match=f"Device '{name}' cannot be used on this machine: use cpu"):
        find_device(name)


@pytest.mark.parametrize(
    ("there", "usable"),
    [([], "cpu"), (["mps"], "cpu or mps"), (["cuda"], "cpu or cuda"), (["cuda", "mps"], "cpu or cuda or mps")],
)
def test_the_usable_devices_are_listed(monkeypatch, there, usable):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in there)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in there)
    with pytest.raises(ValueError, match=f"^Device 'meta' cannot be used on this machine: use {usable}\\.$"):
        find_device("meta")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("flags\t\t: fpu avx512f avx512_bf16", True), ("flags : amx_bf16 amx_tile", True), ("flags : avx512f", False)],
)
def test_bfloat16_on_a_cpu_is_read_from_the_flags_of_the_first_processor(tmp_path, monkeypatch, flags, expected):
    monkeypatch.setattr(devices, "CPU_INFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{flags}\n\nprocessor\t: 1\nflags : avx512_bf16\n")
    assert multiplies_bfloat16(CPU) == expected


def test_what_the_processor_says_is_what_torch_says():
    if hasattr(torch.cpu, "get_capabilities") and cpu_info():
        known = torch.cpu.get_capabilities()
        assert multiplies_bfloat16(CPU) == (known.get("avx512_bf16", False) or known.get("amx_bf16", False))


def test_without_cpuinfo_a_cpu_calculates_in_float32(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "CPU_INFO", tmp_path / "missing")
    assert cpu_info() == {} and not multiplies_bfloat16(CPU)


def test_a_gpu_is_asked_through_torch(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    assert not multiplies_bfloat16(torch.device("cuda")) and multiplies_bfloat16(torch.device("mps"))


def test_apples_gpu_has_no_float64():
    assert widest_float(torch.device("mps")) == torch.float32 and widest_float(CPU) == torch.float64
    assert in_float64(torch.ones(2, dtype=torch.float16)).dtype == torch.float64


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs fifos")
def test_a_fifo_opens_without_a_writer(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    open_without_waiting(str(tmp_path / "fifo")).close()


def test_a_file_opens_where_the_system_has_no_such_flag(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_NONBLOCK", raising=False)
    (tmp_path / "file").write_bytes(b"content\r\n")
    with open_without_waiting(str(tmp_path / "file")) as file:
        assert file.read() == b"content\r\n"


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
    after_fork_in_child(test_a_gpu_is_asked_through_torch)
    assert registered == [test_a_gpu_is_asked_through_torch]
    monkeypatch.delattr(os, "register_at_fork")
    after_fork_in_child(registered.clear)
    assert len(registered) == 1


@pytest.mark.parametrize(("is_windows", "flushed"), [(False, ["folder", "file"]), (True, ["file"])])
def test_windows_flushes_no_folder(tmp_path, monkeypatch, is_windows, flushed):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("content")
    names, opened = [], os.open
    monkeypatch.setattr(os, "open", lambda path, flags: names.append(path.name) or opened(path, flags))
    monkeypatch.setattr(devices, "IS_WINDOWS", is_windows)
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
    assert locked == {(2, devices.LOCKED_BYTE, 1)} and (tmp_path / "lock").read_bytes() == b"held by me"


@pytest.mark.parametrize("library", [SimpleNamespace(), None])
def test_without_glibc_freed_memory_stays_where_it_is(monkeypatch, library):
    def load(_):
        if library is None:
            raise TypeError("Windows wants a name")
        return library

    monkeypatch.setattr("ctypes.CDLL", load)
    return_freed_memory()
    calls = []
    monkeypatch.setattr("ctypes.CDLL", lambda _: SimpleNamespace(malloc_trim=calls.append))
    return_freed_memory()
    assert calls == [0]
