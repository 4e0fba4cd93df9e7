"""Devices by their names, and the types of floats that they have."""

import pytest
import torch

from vistok.tokenizer import system
from vistok.tokenizer.devices import (
    default_device,
    find_device,
    in_float64,
    multiplies_bfloat16,
    widest_float,
)
from vistok.tokenizer.system import cpu_info

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
    monkeypatch.setattr(system, "CPU_INFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{flags}\n\nprocessor\t: 1\nflags : avx512_bf16\n")
    assert multiplies_bfloat16(CPU) == expected


def test_what_the_processor_says_is_what_torch_says():
    if hasattr(torch.cpu, "get_capabilities") and cpu_info():
        known = torch.cpu.get_capabilities()
        assert multiplies_bfloat16(CPU) == (known.get("avx512_bf16", False) or known.get("amx_bf16", False))


def test_without_cpuinfo_a_cpu_calculates_in_float32(tmp_path, monkeypatch):
    monkeypatch.setattr(system, "CPU_INFO", tmp_path / "missing")
    assert cpu_info() == {} and not multiplies_bfloat16(CPU)


def test_each_gpu_is_asked_for_itself(monkeypatch):
    cards = [(7, 5), (8, 6), (9, 0)]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: cards[device.index])
    found = [multiplies_bfloat16(torch.device("cuda", index)) for index in range(3)]
    assert found == [False, True, True] and multiplies_bfloat16(torch.device("mps"))
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert multiplies_bfloat16(torch.device("cuda", 0)), "AMD's cards, which torch also calls cuda, multiply it"


def test_apples_gpu_has_no_float64():
    assert widest_float(torch.device("mps")) == torch.float32 and widest_float(CPU) == torch.float64
    assert in_float64(torch.ones(2, dtype=torch.float16)).dtype == torch.float64
