"""Save and load a tokenizer folder."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from ..config import parse_choice
from ..files import write_whole
from ..model import VisualTokenizer, build_tokenizer
from ..networks.base import ArchitectureConfig
from ..numerics.float32 import own_numerics
from ..preprocessing import PreprocessingConfig
from ..quantizers import QUANTIZERS
from .card import is_changed, with_mark, with_metadata
from .config_json import CONFIG_FILE, Origin, TokenizerConfig, read_tokenizer_config
from .decoders import write_decoders
from .replacing import replacing_files
from .skeleton import build_skeleton
from .weight_file import check_finite, check_weight_file, write_weights

WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"


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
    before_each: Callable[[str, Tensor], None] | None = None,
) -> TokenizerConfig:
    """Write a tokenizer folder: network weights as `dtype`, the quantizer as inference needs it, or whole.

    `card` is the text of README.md, after metadata for the Hugging Face hub. `metadata` goes into the header of the weight
    file and has no effect. `before_each` is called with the name of each weight and the weight before it is written. The
    extra decoders of the model are written too; where there are any, weights are float32 and the quantizer keeps its form.
    A tokenizer that is there, with its decoders, stays whole until the new one is. Decoders of other names stay for good,
    as does a README.md that was changed by hand; a decoder that does not fit is refused when it is loaded. Raises
    ConfigError when the quantizer is not in QUANTIZERS, and OSError.
    """
    quantizer_config, quantizer = (
        (model.quantizer.config, model.quantizer) if with_training_state else model.quantizer.for_inference()
    )
    assert not model.decoders or (dtype == torch.float32 and quantizer_config == model.quantizer.config), (
        "extra decoders fit the plain decoder and the codes as they are, not rounded or in another form"
    )
    config = TokenizerConfig(
        architecture=architecture,
        quantizer=parse_choice(QUANTIZERS, quantizer_config, "quantizer"),
        preprocessing=preprocessing,
        origin=origin,
    )
    others = ("quantizer.", "decoders.")
    networks = {name: value for name, value in model.state_dict().items() if not name.startswith(others)}
    quantizer_weights = {f"quantizer.{name}": value for name, value in quantizer.state_dict().items()}
    dtypes = dict.fromkeys(networks, dtype) | {name: value.dtype for name, value in quantizer_weights.items()}
    with replacing_files(folder) as new:
        write_weights(new / WEIGHTS_FILE, networks | quantizer_weights, dtypes, metadata or {}, before_each)
        if not is_changed(folder / CARD_FILE):
            write_whole(new / CARD_FILE, with_mark(with_metadata(card, config)).encode())
        write_decoders(new, model)
        write_whole(new / CONFIG_FILE, (config.model_dump_json(indent=2) + "\n").encode())
    return config


def load_tokenizer(folder: Path) -> LoadedTokenizer:
    """Read a tokenizer folder; the model is float32, in eval mode, on the CPU, whatever torch's defaults.

    Raises ValueError when the folder is no tokenizer, is damaged, or its weights do not fit its config. That is checked
    before anything is allocated. Extra decoders are left out: `load_decoders` reads them.
    """
    config, path = read_tokenizer_config(folder), folder / WEIGHTS_FILE
    with own_numerics(torch.device("cpu")):
        check_weight_file(path, _without_memory(config, folder).state_dict())
        model = build_tokenizer(config.architecture, config.quantizer)
        model.load_state_dict(load_file(path))
        check_finite(path, model.state_dict())
    return LoadedTokenizer(model.eval().requires_grad_(False), config)


def _without_memory(config: TokenizerConfig, folder: Path) -> VisualTokenizer:
    try:
        return build_skeleton(config)
    except (RuntimeError, OverflowError):  # a tensor of more values than an int64 counts
        raise ValueError(
            f"{folder / CONFIG_FILE} asks for a network that no memory can hold: correct its sizes."
        ) from None
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG_FILE}: {error}") from None
