"""Which files hold a checkpoint: a file itself, or those of a folder."""

import json
from pathlib import Path
from typing import Any

from ...tokenizer.files import check_no_pointer
from ...tokenizer.wording import list_first, shortened

SAFETENSORS = ".safetensors"
TORCH = (".pt", ".pth", ".ckpt", ".bin")
TORCHSCRIPT = (".jit", ".ts")
SUFFIXES = (SAFETENSORS, *TORCH, *TORCHSCRIPT)
WANTED = f"a file that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}, or a folder with one"
INDEX = "*.index.json"
LIBRARY_NAMES = (
    "diffusion_pytorch_model.safetensors",
    "model.safetensors",
    "diffusion_pytorch_model.bin",
    "pytorch_model.bin",
    "model.ckpt",
)
"""Names that libraries give the weights, in the order in which they look for them."""
ENCODER_AND_DECODER = ("encoder.jit", "decoder.jit")
SETTINGS = "config.json"
LARGEST = 1 << 24
"""Max bytes of a .json file."""
SHOWN = 4


def weight_files(path: Path) -> list[Path]:
    """Return the files of a checkpoint, which are one unless a folder has its weights in several.

    Raises ValueError when there are none, or it is not clear which they are.
    """
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise ValueError(f"{path} ends in {path.suffix or 'nothing'}: give {WANTED}.")
        return [path]
    if not path.is_dir():
        raise ValueError(f"There is no checkpoint {path}: give {WANTED}.")
    indices = sorted(path.glob(INDEX))
    if indices:
        return _shards(indices[0])
    for names in [[name] for name in LIBRARY_NAMES] + [list(ENCODER_AND_DECODER)]:
        if all((path / name).is_file() for name in names):
            return [path / name for name in names]
    found = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
    if len(found) == 1 or (found and all(file.suffix in TORCHSCRIPT for file in found)):
        return found
    if not found:
        raise ValueError(f"{path} is a folder without weights: give {WANTED}.")
    shown = list_first([shortened(file.name) for file in found], SHOWN)
    raise ValueError(f"{path} has several files of weights ({shown}): give one of them.")


def _shards(index: Path) -> list[Path]:
    files = read_object(index).get("weight_map")
    if not isinstance(files, dict) or not files or not all(isinstance(name, str) for name in files.values()):
        raise ValueError(f"{index} lists no files of weights: download it again.")
    names = sorted(set(files.values()))
    for name in names:
        if Path(name).name != name or Path(name).suffix not in SUFFIXES:
            raise ValueError(
                f"{index} lists {shortened(name)!r}, which is no file of weights beside it: download it again."
            )
        if not (index.parent / name).is_file():
            raise ValueError(f"{index.parent} has no {shortened(name)}, which {index.name} lists: download it too.")
    return [index.parent / name for name in names]


def read_settings(path: Path) -> dict[str, Any]:
    """Return the content of config.json in a folder or beside a file, empty if there is none."""
    settings = (path if path.is_dir() else path.parent) / SETTINGS
    return read_object(settings) if settings.is_file() else {}


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a .json file; raise ValueError when it is none."""
    check_no_pointer(path)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        values = json.loads(content) if len(content) <= LARGEST else None
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise ValueError(f"{path} is not an object of JSON: download it again, or move it away.")
    return values
