"""A tokenizer on disk: a folder with config.json, model.safetensors and README.md, and its fingerprint."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from .config import Config, parse_config
from .convolutional import ConvolutionalConfig
from .files import write_whole
from .model import VisualTokenizer, build_tokenizer
from .preprocessing import PreprocessingConfig
from .quantizers import QuantizerConfig, parse_quantizer

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"
FORMAT_VERSION = 1


class TokenizerConfig(Config):
    """Everything that is needed to build a tokenizer, but its weights."""

    format_version: int = FORMAT_VERSION
    """Version of the folder's layout."""
    architecture: ConvolutionalConfig
    """Encoder and decoder."""
    quantizer: QuantizerConfig
    """Quantizer, as exported."""
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    """How pictures become pixels."""


class LoadedTokenizer(NamedTuple):
    """A tokenizer folder in memory."""

    model: VisualTokenizer
    config: TokenizerConfig


def save_tokenizer(
    folder: Path,
    model: VisualTokenizer,
    architecture: ConvolutionalConfig,
    preprocessing: PreprocessingConfig,
    card: str,
    dtype: torch.dtype = torch.float32,
    fold: bool = True,
) -> TokenizerConfig:
    """Write a tokenizer folder: floating-point weights of the networks as `dtype`, the quantizer folded where asked.

    Each file is written aside and renamed, the config last, so a folder with a config is a whole one.
    """
    quantizer_config, quantizer = model.quantizer.folded() if fold else (model.quantizer.config, model.quantizer)
    config = TokenizerConfig(
        architecture=architecture, quantizer=parse_quantizer(quantizer_config.model_dump()), preprocessing=preprocessing
    )
    weights = {name: value.to(dtype) for name, value in model.state_dict().items() if not name.startswith("quantizer.")}
    weights |= {f"quantizer.{name}": value for name, value in quantizer.state_dict().items()}
    weights = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / WEIGHTS_FILE, save(weights))
    write_whole(folder / CARD_FILE, card.encode())
    write_whole(folder / CONFIG_FILE, (config.model_dump_json(indent=2) + "\n").encode())
    return config


def load_tokenizer(folder: Path) -> LoadedTokenizer:
    """Read a tokenizer folder; the model is float32, in evaluation mode, on the CPU.

    Raises ValueError when the folder is not one, is damaged, or holds other weights than its config asks for.
    """
    config = read_tokenizer_config(folder)
    model = build_tokenizer(config.architecture, config.quantizer)
    _load_weights(model, folder / WEIGHTS_FILE)
    return LoadedTokenizer(model.eval().requires_grad_(False), config)


def read_tokenizer_config(folder: Path) -> TokenizerConfig:
    """Read config.json of a tokenizer folder; raise ValueError with one sentence when that cannot be done."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise ValueError(f"{folder} is not a tokenizer folder: it has no {CONFIG_FILE}.")
    try:
        values: dict[str, Any] = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON ({error}): export the tokenizer again.") from None
    if values.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format_version {values.get('format_version')!r}, but this vistok reads {FORMAT_VERSION}: "
            "use the vistok that wrote it."
        )
    values["quantizer"] = parse_quantizer(values.get("quantizer", {}))
    return parse_config(TokenizerConfig, values)


def fingerprint(model: VisualTokenizer, config: TokenizerConfig) -> str:
    """Return the SHA-256 of what decides the tokens: encoder, quantizer and preprocessing, not the decoder.

    Weights are hashed as the float32 values in memory, so the storage type of the file does not matter but its
    rounding does.
    """
    # Only what differs from the defaults: a key that a later version adds leaves the fingerprints of today alone.
    facts = {
        "architecture": [
            config.architecture.name,
            config.architecture.model_dump(exclude={"decoder"}, exclude_defaults=True),
        ],
        "quantizer": [config.quantizer.name, config.quantizer.model_dump(exclude_defaults=True)],
        "preprocessing": config.preprocessing.model_dump(exclude_defaults=True),
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for part, module in deciding_parts(model).items():
        for name, value in sorted(module.state_dict().items()):
            digest.update(f"{part}.{name} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def deciding_parts(model: VisualTokenizer) -> dict[str, nn.Module]:
    """Return the parts of a model that decide the tokens."""
    return {"encoder": model.encoder, "quantizer_in": model.quantizer_in, "quantizer": model.quantizer}


def _load_weights(model: VisualTokenizer, path: Path) -> None:
    if not path.is_file():
        raise ValueError(f"{path.parent} is not a tokenizer folder: it has no {path.name}.")
    try:
        weights: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged ({error}): export or download the tokenizer again.") from None
    expected = model.state_dict()
    for name in [*expected, *weights]:
        if name not in weights or name not in expected:
            where = "the file" if name not in weights else "the config"
            raise ValueError(f"{path} does not fit its config: {name} is missing from {where}.")
        if weights[name].shape != expected[name].shape:
            raise ValueError(
                f"{path} does not fit its config: {name} is {tuple(weights[name].shape)}, not {tuple(expected[name].shape)}."
            )
    model.load_state_dict(weights)
