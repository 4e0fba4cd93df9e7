"""Whatever depends on the device: which there are, their float types, and the group of processes that share them."""

from typing import Any, Literal

import torch
from torch import Tensor, distributed

from .system import cpu_info

AMPERE = 8
"""Compute capability from which NVIDIA's tensor cores multiply bfloat16."""


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


def device_name(device: torch.device) -> str:
    """Return the name of an NVIDIA or AMD GPU, and the type of any other device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


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
    return has_tensor_cores(device) if device.type == "cuda" and torch.version.hip is None else True


def has_tensor_cores(device: torch.device) -> bool:
    """Return whether a device is an NVIDIA GPU whose tensor cores multiply bfloat16: Ampere or newer."""
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    return torch.cuda.get_device_capability(device)[0] >= AMPERE  # torch.cuda.is_bf16_supported asks the current device


def widest_float(device: torch.device) -> torch.dtype:
    """Return float64, or float32 on Apple's GPU, which has no wider type."""
    return torch.float32 if device.type == "mps" else torch.float64


def in_float64(values: Tensor) -> Tensor:
    """Return values in float64, on the CPU where their device has no such type."""
    return (values.cpu() if widest_float(values.device) != torch.float64 else values).double()
