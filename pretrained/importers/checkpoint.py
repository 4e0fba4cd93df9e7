"""Read the tensors of a checkpoint file. No code of a pickle is run."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from ...tokenizer.wording import list_first

PICKLED = (".pt", ".pth", ".ckpt", ".bin")
WRAPPERS = ("ema", "state_dict", "model", "module")
"""Keys under which training programs store the weights, the averaged ones first."""
TRAINING_STATE = ("argparse.", "lightning.", "omegaconf.", "pytorch_lightning.")
"""Packages whose objects training programs store beside the weights. They become empty stand-ins; nothing is imported."""
SHOWN = 3


class _StandIn:
    """Takes the place of an object of TRAINING_STATE."""

    def __init__(self, *_: object):
        pass

    def __setstate__(self, _: object) -> None:
        pass


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors or a PyTorch file by name; raise ValueError when there are none to read.

    A pickle that asks for anything but tensors, containers and known training state is refused.
    """
    if not path.is_file():
        raise ValueError(f"There is no checkpoint file {path}: give a .safetensors, {', '.join(PICKLED)} file.")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged ({error}): download it again.") from None
    if path.suffix not in PICKLED:
        raise ValueError(f"{path} ends in {path.suffix or 'nothing'}: give a .safetensors, {', '.join(PICKLED)} file.")
    tensors = _state_dict(_unpickled(path))
    if not tensors:
        raise ValueError(
            f"{path} holds no tensors, neither by themselves nor under {', '.join(WRAPPERS)}: give the file of the weights."
        )
    return tensors


def _unpickled(path: Path) -> Any:
    try:
        asked_for = get_unsafe_globals_in_checkpoint(path)
    except (ValueError, RuntimeError, pickle.UnpicklingError):  # files of torch before 1.6, or no such file at all
        asked_for = []
    unsafe = [name for name in asked_for if not name.startswith(TRAINING_STATE)]
    if unsafe:
        raise ValueError(
            f"{path} would run code when it is loaded ({list_first(unsafe, SHOWN)}), which vistok never does: save its "
            "state dict as .safetensors where you trust it."
        )
    try:
        with safe_globals([(_StandIn, name) for name in asked_for]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file leads to
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"{path} cannot be read as weights alone ({reason[0].rstrip('.')}): download it again, or save its state dict "
            "as .safetensors where you trust it."
        ) from None


def _state_dict(content: Any) -> dict[str, Tensor]:
    """Return the tensors of a state dict, which may lie under one of WRAPPERS."""
    if not isinstance(content, Mapping):
        return {}
    for key in WRAPPERS:
        if isinstance(content.get(key), Mapping):
            return _state_dict(content[key])
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
