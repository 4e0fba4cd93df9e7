"""Read the tensors of a checkpoint file without running code in a pickle."""

import json
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from ...tokenizer.wording import list_first

PICKLED = (".pt", ".pth", ".ckpt", ".bin")
WANTED = f"a file that ends in .safetensors, {', '.join(PICKLED[:-1])} or {PICKLED[-1]}"
WRAPPERS = ("ema", "state_dict", "model", "module", "trainer", "unitok")
"""Keys under which training programs store the weights; averaged weights come first."""
TRAINING_STATE = ("argparse.", "lightning.", "omegaconf.", "pytorch_lightning.")
"""Packages whose objects training programs store beside the weights. They are replaced by stand-ins, never imported."""


class _StandIn:
    def __init__(self, *_: object):
        pass

    def __setstate__(self, _: object) -> None:
        pass


class Checkpoint(NamedTuple):
    """What a file holds."""

    tensors: Mapping[str, Tensor]
    settings: Mapping[str, Any]
    """Content of config.json beside it, empty if there is none."""


def read_checkpoint(path: Path) -> Checkpoint:
    """Return the tensors of a .safetensors or PyTorch file by name, and the settings beside it.

    Raises ValueError when the file holds none or is damaged, or when a pickle asks for more than tensors, containers and
    known training state.
    """
    if not path.is_file():
        what = f"{path} is a folder" if path.is_dir() else f"There is no checkpoint file {path}"
        raise ValueError(f"{what}: give {WANTED}.")
    if path.suffix == ".safetensors":
        try:
            return Checkpoint(load_file(path), _settings(path))
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged ({error}): download it again.") from None
    if path.suffix not in PICKLED:
        raise ValueError(f"{path} ends in {path.suffix or 'nothing'}: give {WANTED}.")
    tensors = _state_dict(_unpickled(path))
    if not tensors:
        raise ValueError(
            f"{path} holds no tensors, neither by themselves nor under {', '.join(WRAPPERS)}: give the file of the weights."
        )
    return Checkpoint(tensors, _settings(path))


def _settings(path: Path) -> dict[str, Any]:
    beside = path.with_name("config.json")
    return dict(json.loads(beside.read_text())) if beside.is_file() else {}


def _unpickled(path: Path) -> Any:
    try:
        asked_for = get_unsafe_globals_in_checkpoint(path)
    except (ValueError, RuntimeError, pickle.UnpicklingError):  # no zip file: of torch before 1.6, or damaged
        asked_for = []
    unsafe = [name for name in asked_for if not name.startswith(TRAINING_STATE)]
    if unsafe:
        raise ValueError(
            f"{path} would run code when it is loaded ({list_first(unsafe, shown=3)}), which vistok never does: save its "
            "state dict as .safetensors where you trust it."
        )
    try:
        with safe_globals([(_StandIn, name) for name in asked_for]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old protocols
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # damaged and hostile files raise all kinds, and torch's sentence says how to run their code
        raise ValueError(
            f"{path} is damaged or holds more than weights: download it again, or save its state dict as .safetensors where "
            "you trust it."
        ) from None


def _state_dict(content: Any) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        return {}
    for key in WRAPPERS:
        if isinstance(content.get(key), Mapping):
            return _state_dict(content[key])
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
