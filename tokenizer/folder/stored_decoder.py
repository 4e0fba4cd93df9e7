"""The folder of one extra decoder: config.json and model.safetensors."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from safetensors.torch import load_file
from torch import Tensor

from ..config import Config
from ..decoders.base import MAX_STEPS, DecoderCard, ExtraDecoder
from ..decoders.table import ExtraDecoderConfig
from ..files import write_whole
from ..model import VisualTokenizer
from ..networks.skeleton import without_values
from ..numerics.float32 import own_numerics
from .config_json import AGAIN, CONFIG_FILE, FORMAT_VERSION, read_config
from .replacing import finish_replacing
from .weight_file import check_finite, check_weight_file, write_weights

WEIGHTS_FILE = "model.safetensors"
DECODER_AGAIN = "copy or train this decoder again."


class StoredDecoder(Config):
    """Everything needed to build an extra decoder for its tokenizer, except its weights."""

    format_version: int = FORMAT_VERSION
    """Version of the folder's layout."""
    network: ExtraDecoderConfig
    """Kind and shape."""
    scale: Annotated[float, Field(gt=0)] = 1.0
    """Root mean square of the residual that it was trained on."""
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] = 1
    """Passes through the network for one image."""
    trained_for: str
    """Digest of the codes and the plain decoder that it was trained with."""
    card: DecoderCard = DecoderCard()
    """How good it is."""


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


@contextmanager
def _named_as_a_decoder() -> Iterator[None]:
    """Let errors about a damaged file ask for the decoder, and not for the tokenizer."""
    try:
        yield
    except ValueError as error:
        said = str(error)
        raise ValueError(said.removesuffix(AGAIN) + (DECODER_AGAIN if said.endswith(AGAIN) else "")) from None


@_named_as_a_decoder()
def read_decoder(place: Path, model: VisualTokenizer, digest: str) -> ExtraDecoder:
    """Build a decoder of `model`, whose digest is given, from its folder; raise ValueError when that is not possible."""
    stored, path = _read(place), place / WEIGHTS_FILE
    if stored.trained_for != digest:
        raise ValueError(
            f"{place} was trained for another tokenizer or another plain decoder than {place.parents[1]} has: train one for "
            "this tokenizer, with finetune-tokenizer --decoder."
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
