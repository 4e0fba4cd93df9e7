"""`--devices`: which devices of this machine encode."""

import torch

from ...tokenizer.devices import default_device, find_device
from ...tokenizer.system import IS_WINDOWS

ALL, AUTO = "all", "auto"


def parse_devices(text: str) -> tuple[str, ...]:
    """Return the devices of `auto`, `all` or a list such as cuda:0,cuda:1, in which one may occur several times.

    Raises ValueError when one cannot be used here, or when they are of different types, which round differently.
    """
    if text == AUTO:
        return (str(default_device()),)
    if text == ALL:
        return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count())) or ("cpu",)
    found = [find_device(name) for name in _names(text)]
    types = sorted({device.type for device in found})
    if len(types) > 1:
        raise ValueError(
            f"--devices is {text!r}, but {' and '.join(types)} round differently: give devices of one type."
        )
    if len(found) > 1 and IS_WINDOWS:
        raise ValueError(f"--devices is {text!r}, but on Windows there is one process: give one device.")
    return tuple(map(str, found))


def parse_cluster_devices(text: str) -> tuple[str, ...]:
    """Return the devices that are asked for of a cluster, such as cuda,cuda; none for `auto` and `all`. Raises ValueError."""
    if text in (ALL, AUTO):
        return ()
    found = tuple(_names(text))
    if set(found) not in ({"cpu"}, {"cuda"}):
        raise ValueError(f"--devices is {text!r}, but for --engine ray must be all, or cpu or cuda several times.")
    return found


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names) or {ALL, AUTO} & set(names):
        raise ValueError(
            f"--devices is {text!r}, but must be auto, all, or devices such as cpu or cuda:0,cuda:1, none of them empty."
        )
    return names


def device_of_rank(text: str, local_rank: int) -> str:
    """Return the device of one of several processes on a machine, each of which gets the next one in turn."""
    devices = parse_devices(ALL if text == AUTO else text)
    return devices[local_rank % len(devices)]
