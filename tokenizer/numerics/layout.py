"""The order of images and kernels in memory, decided in one place."""

from typing import Literal, TypeAlias

import torch

Way: TypeAlias = Literal["float32", "half", "compiled"]
"""How networks calculate: in float32, in half precision operator by operator, or compiled in half precision."""

_ON_A_CPU = torch.channels_last
_ON_OTHERS: dict[Way, torch.memory_format] = {
    "float32": torch.contiguous_format,
    "half": torch.contiguous_format,
    "compiled": torch.contiguous_format,
}
"""Convolutions in half precision are a little faster channels-last, but torch's group norm knows only the other order on a GPU
and copies its input and output. In float32 without tf32, cuDNN's convolutions are made for it too. The compiler lays out
convolutions itself."""


def memory_format(device: torch.device, way: Way = "float32") -> torch.memory_format:
    """Return the layout of images and kernels that is fastest on a device; a result may round differently in another."""
    return _ON_A_CPU if device.type == "cpu" else _ON_OTHERS[way]


def way_of(dtype: torch.dtype) -> Way:
    """Return how networks of a type calculate when they are not compiled."""
    return "float32" if dtype == torch.float32 else "half"
