"""Save and load a tokenizer folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from ..config import parse_choice
from ..files import write_whole
from ..model import VisualTokenizer, build_tokenizer
from ..networks.base import ArchitectureConfig
from ..numerics.float32 import own_numerics
from ..preprocessing import PreprocessingConfig
from ..quantizers import QUANTIZERS
from .config_json import CONFIG_FILE, Origin, TokenizerConfig, read_tokenizer_config

WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"
AGAIN = "export or download the tokenizer again."
FLOATS = {"F64", "F32", "F16", "BF16"}
INTEGERS = {"I64", "I32", "I16", "I8", "U8", "U16", "U32", "U64"}


class LoadedTokenizer(NamedTuple):
    """A tokenizer folder in memory."""

    model: VisualTokenizer
    config: TokenizerConfig


def save_tokenizer(
    folder: Path,
    model: VisualTokenizer,
    architecture: ArchitectureConfig,
    preprocessing: PreprocessingConfig,
    card: str,
    dtype: torch.dtype = torch.float32,
    with_training_state: bool = False,
    metadata: Mapping[str, str] | None = None,
    origin: Origin | None = None,
) -> TokenizerConfig:
    """Write a tokenizer folder: network weights as `dtype`, the quantizer as inference needs it, or whole.

    `metadata` goes into the header of the weight file and has no effect. Each file is written aside and renamed, the config
    last, so a folder with a config is complete. Raises ConfigError when the quantizer is not in QUANTIZERS, and OSError.
    """
    quantizer_config, quantizer = (
        (model.quantizer.config, model.quantizer) if with_training_state else model.quantizer.for_inference()
    )
    config = TokenizerConfig(
        architecture=architecture,
        quantizer=parse_choice(QUANTIZERS, quantizer_config, "quantizer"),
        preprocessing=preprocessing,
        origin=origin,
    )
    weights = {name: value.to(dtype) for name, value in model.state_dict().items() if not name.startswith("quantizer.")}
    weights |= {f"quantizer.{name}": value for name, value in quantizer.state_dict().items()}
    weights = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    folder.mkdir(parents=True, exist_ok=True)
    # A config marks a complete folder, and a stop in between must not leave the old config with new weights.
    (folder / CONFIG_FILE).unlink(missing_ok=True)
    write_whole(folder / WEIGHTS_FILE, save(weights, dict(metadata) if metadata else None))
    write_whole(folder / CARD_FILE, card.encode())
    write_whole(folder / CONFIG_FILE, (config.model_dump_json(indent=2) + "\n").encode())
    return config


def load_tokenizer(folder: Path) -> LoadedTokenizer:
    """Read a tokenizer folder; the model is float32, in eval mode, on the CPU, whatever torch's defaults.

    Raises ValueError when the folder is no tokenizer, is damaged, or its weights do not fit its config. That is checked
    before anything is allocated.
    """
    config, path = read_tokenizer_config(folder), folder / WEIGHTS_FILE
    with own_numerics(torch.device("cpu")):
        _check_weight_file(path, _without_memory(config, folder).state_dict())
        model = build_tokenizer(config.architecture, config.quantizer)
        model.load_state_dict(load_file(path))
        check_finite(path, model.state_dict())
    return LoadedTokenizer(model.eval().requires_grad_(False), config)


def _without_memory(config: TokenizerConfig, folder: Path) -> VisualTokenizer:
    try:
        with torch.device("meta"):
            return build_tokenizer(config.architecture, config.quantizer)
    except (RuntimeError, OverflowError):  # a tensor of more values than an int64 counts
        raise ValueError(
            f"{folder / CONFIG_FILE} asks for a network that no memory can hold: correct its sizes."
        ) from None
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG_FILE}: {error}") from None


def _check_weight_file(path: Path, expected: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless the file has the names, shapes and kinds of types of `expected`, whose tensors may be on meta."""
    if not path.is_file():
        raise ValueError(f"{path.parent} is not a tokenizer folder: it has no {path.name}.")
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            slices = {name: file.get_slice(name) for name in names}
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            kinds = {name: str(part.get_dtype()) for name, part in slices.items()}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged ({error}): {AGAIN}") from None
    for name in [*expected, *names]:
        if name not in shapes or name not in expected:
            where = "the file" if name not in shapes else "the config"
            raise ValueError(f"{path} does not fit its config: {name} is missing from {where}.")
        if shapes[name] != tuple(expected[name].shape):
            raise ValueError(
                f"{path} does not fit its config: {name} is {shapes[name]}, not {tuple(expected[name].shape)}."
            )
        allowed = FLOATS if expected[name].is_floating_point() else INTEGERS
        if kinds[name] not in allowed:
            raise ValueError(f"{path} has {name} as {kinds[name]}, but it must be one of {', '.join(sorted(allowed))}.")


def check_finite(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Raise ValueError when a weight is NaN or infinite."""
    for name, value in weights.items():
        if value.is_floating_point() and value.numel() and not all(map(torch.isfinite, torch.aminmax(value))):
            raise ValueError(f"{path} has values in {name} that are NaN or infinite: {AGAIN}")
