"""`vistok.list_models`."""

from typing import NamedTuple

from .find import BUILT_IN, built_in_names
from .public import PUBLIC


class ModelInfo(NamedTuple):
    """What is known of a tokenizer before it is loaded."""

    name: str
    """What `vistok.load` and the commands take."""
    family: str
    """Name of the importer; photo-f8 and the like are vistok's own."""
    licence: str
    """Licence of the weights, as the publisher writes it."""
    downsample: int | None
    """Pixels along one side of a token; None where tokens have no grid."""
    codebooks: int
    codes: int
    """Codes of each codebook."""
    parameters: float | None
    """Millions of parameters; None where they are not known."""
    source: str
    """The repository on the Hugging Face hub that it is downloaded from at first; empty for one that ships with vistok."""


def list_models() -> list[ModelInfo]:
    """Return the tokenizers that can be loaded by name: those that ship with vistok, and public ones."""
    own = [_built_in(name) for name in built_in_names()]
    return own + [
        ModelInfo(
            name,
            entry.family,
            entry.licence,
            entry.downsample,
            entry.codebooks,
            entry.codes,
            entry.parameters,
            entry.repository,
        )
        for name, entry in PUBLIC.items()
    ]


def _built_in(name: str) -> ModelInfo:
    from ..tokenizer.folder.config_json import read_tokenizer_config  # late: it imports torch
    from ..tokenizer.folder.skeleton import build_skeleton

    config = read_tokenizer_config(BUILT_IN / name)
    model = build_skeleton(config)
    quantizer = config.quantizer.build()
    parameters = sum(tensor.numel() for tensor in model.parameters())
    return ModelInfo(
        name,
        "vistok",
        "MIT",
        config.architecture.downsample,
        quantizer.num_codebooks,
        quantizer.vocab_size,
        round(parameters / 1e6, 1),
        "",
    )
