"""Extra decoders of a tokenizer folder: FOLDER/decoders/NAME/ holds config.json and model.safetensors."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from safetensors.torch import load_file
from torch import Tensor, nn

from ..config import Config
from ..decoders.base import MAX_STEPS, PLAIN, DecoderCard, ExtraDecoder
from ..decoders.table import ExtraDecoderConfig
from ..files import write_whole
from ..model import VisualTokenizer
from ..networks.skeleton import without_values
from ..numerics.float32 import own_numerics
from .config_json import CONFIG_FILE, FORMAT_VERSION, read_config
from .decoder_digest import decoder_digest
from .replacing import finish_replacing, remove_folders, replacing_files
from .weight_file import check_finite, check_weight_file, write_weights

DECODERS_FOLDER = "decoders"
WEIGHTS_FILE = "model.safetensors"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class StoredDecoder(Config):
    """Everything needed to build an extra decoder for its tokenizer, except its weights."""

    format_version: int = FORMAT_VERSION
    """Version of the folder's layout."""
    network: ExtraDecoderConfig
    """Kind and shape."""
    scale: Annotated[float, Field(gt=0)] = 1.0
    """Standard deviation of the residual that it was trained on."""
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] = 1
    """Passes through the network for one image."""
    trained_for: str
    """Digest of the codes and the plain decoder that it was trained with."""
    card: DecoderCard = DecoderCard()
    """How good it is."""


def check_decoder_name(name: str) -> None:
    """Raise ValueError unless a new decoder may have this name."""
    if name == PLAIN or not NAME.fullmatch(name) or hasattr(nn.ModuleDict(), name):
        raise ValueError(
            f"The name of a decoder is {name!r}, but must be up to 64 letters, digits, - and _, and neither {PLAIN} nor a "
            "method of torch's modules: try generative."
        )


def decoder_names(folder: Path) -> list[str]:
    """Return the names of the extra decoders of a tokenizer folder, damaged ones too."""
    try:
        return sorted(
            path.name for path in (folder / DECODERS_FOLDER).iterdir() if path.is_dir() and path.name[0] != "."
        )
    except OSError:
        return []


def save_decoder(
    folder: Path,
    name: str,
    decoder: ExtraDecoder,
    model: VisualTokenizer,
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Add a decoder to a tokenizer folder, or replace that of the same name; nothing else in the folder is touched.

    `model` is the tokenizer as it was loaded from the folder, `dtype` is that of the weights: None is float16 where that
    rounds nothing, else float32. `metadata` goes into the header of the weight file and has no effect. A stop at any moment
    leaves the old decoder or the new one. Raises ValueError for a name that no decoder can have, and OSError.
    """
    check_decoder_name(name)
    with replacing_files(folder / DECODERS_FOLDER / name) as new:
        write_decoder(new, decoder, decoder_digest(model), dtype, metadata)


def write_decoders(folder: Path, new: Path, model: VisualTokenizer) -> None:
    """Write all extra decoders of a model among the new files of a tokenizer folder, whose other decoders then go.

    Raises OSError.
    """
    gone = set(decoder_names(folder)) - set(model.decoders)
    if gone:
        remove_folders(new, (f"{DECODERS_FOLDER}/{name}" for name in sorted(gone)))
    for name in model.decoders:
        decoder, place = model.extra_decoder(name), new / DECODERS_FOLDER / name
        place.mkdir(parents=True)
        write_decoder(place, decoder, decoder.trained_for or decoder_digest(model))


def write_decoder(
    folder: Path,
    decoder: ExtraDecoder,
    trained_for: str,
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write the files of a decoder into a folder that is there; raise OSError."""
    weights = decoder.state_dict()
    kept = {name: value.dtype for name, value in decoder.named_buffers()}
    dtypes = dict.fromkeys(weights, dtype or _smallest(decoder)) | kept
    config = StoredDecoder(
        network=decoder.config, scale=decoder.scale, steps=decoder.steps, trained_for=trained_for, card=decoder.card
    )
    write_weights(folder / WEIGHTS_FILE, weights, dtypes, metadata or {})
    write_whole(folder / CONFIG_FILE, (config.model_dump_json(indent=2) + "\n").encode())


def _smallest(decoder: ExtraDecoder) -> torch.dtype:
    rounds = any(not value.half().float().equal(value) for value in decoder.parameters())
    return torch.float32 if rounds else torch.float16


def load_decoders(folder: Path, model: VisualTokenizer) -> None:
    """Load all extra decoders of the tokenizer folder that `model` was loaded from, into the model.

    One that cannot be loaded never keeps the others from it: `model.broken_decoders` has the reason.
    """
    for name in decoder_names(folder):
        try:
            model.decoders[name] = load_decoder(folder, name, model)
        except ValueError as error:
            model.broken_decoders[name] = str(error)


def load_decoder(folder: Path, name: str, model: VisualTokenizer) -> ExtraDecoder:
    """Load one extra decoder of the tokenizer folder that `model` was loaded from: float32, in eval mode, on the CPU.

    Raises ValueError when there is none of this name, it is damaged, or it was trained for another tokenizer. That is
    checked before anything is allocated.
    """
    check_decoder_name(name)
    place = folder / DECODERS_FOLDER / name
    stored, path = _read(place), place / WEIGHTS_FILE
    if stored.trained_for != decoder_digest(model):
        raise ValueError(
            f"{place} was trained for another tokenizer or another plain decoder than {folder} has: train one for this "
            "tokenizer, with finetune-tokenizer --decoder."
        )
    with own_numerics(torch.device("cpu")):
        check_weight_file(path, _without_memory(stored, model, place))
        decoder = stored.network.build(model.architecture, model.quantizer.dim)
        decoder.load_state_dict(load_file(path))
        check_finite(path, decoder.state_dict())
    decoder.scale, decoder.steps, decoder.card = stored.scale, stored.steps, stored.card
    decoder.trained_for = stored.trained_for
    return decoder.eval().requires_grad_(False)


def _read(place: Path) -> StoredDecoder:
    try:
        finish_replacing(place)
    except OSError as error:
        raise ValueError(
            f"{place} holds a decoder whose saving was stopped, and cannot be written to ({error.strerror}): make it writable."
        ) from None
    for file in (CONFIG_FILE, WEIGHTS_FILE):
        if not (place / file).is_file():
            raise ValueError(f"{place} is not the folder of a decoder: it has no {file}.")
    return read_config(place / CONFIG_FILE, StoredDecoder)


def _without_memory(stored: StoredDecoder, model: VisualTokenizer, place: Path) -> dict[str, Tensor]:
    try:
        with without_values():
            decoder = stored.network.build(model.architecture, model.quantizer.dim)
    except (RuntimeError, OverflowError):  # a tensor of more values than an int64 counts
        raise ValueError(
            f"{place / CONFIG_FILE} asks for a network that no memory can hold: correct its sizes."
        ) from None
    except ValueError as error:
        raise ValueError(f"{place / CONFIG_FILE}: {error}") from None
    if stored.steps > decoder.max_steps:
        raise ValueError(
            f"{place / CONFIG_FILE} has {stored.steps} steps, but {stored.network.name} takes at most {decoder.max_steps}: "
            "correct it."
        )
    return decoder.state_dict()
