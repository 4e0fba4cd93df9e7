"""Extra decoders of a tokenizer folder: FOLDER/decoders/NAME/ is the folder of one."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from ..decoders.base import PLAIN, ExtraDecoder
from ..model import VisualTokenizer
from .decoder_digest import decoder_digest
from .replacing import replacing_files
from .stored_decoder import read_decoder, write_decoder

DECODERS_FOLDER = "decoders"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


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


def write_decoders(new: Path, model: VisualTokenizer) -> None:
    """Write all extra decoders of a model among the new files of a tokenizer folder; raise OSError."""
    for name in model.decoders:
        decoder, place = model.extra_decoder(name), new / DECODERS_FOLDER / name
        place.mkdir(parents=True)
        write_decoder(place, decoder, decoder.trained_for or decoder_digest(model))


def other_decoders(folder: Path, model: VisualTokenizer) -> list[str]:
    """Return the names of the decoders of a folder that a model has not, and that stay when it is saved there.

    Raises ValueError, with their names, when some of them cannot be loaded with the model.
    """
    names = [name for name in decoder_names(folder) if name not in model.decoders]
    digest = decoder_digest(model) if names else ""
    unfit = [name for name in names if not _can_be_loaded(folder, name, model, digest)]
    if unfit:
        have, them = ("the decoder", "it") if len(unfit) == 1 else ("the decoders", "them")
        raise ValueError(
            f"{folder} has {have} {', '.join(unfit)}, which would not fit this tokenizer or cannot be loaded: move {them} out "
            f"of {folder / DECODERS_FOLDER}, or save the tokenizer in another folder."
        )
    return names


def _can_be_loaded(folder: Path, name: str, model: VisualTokenizer, digest: str) -> bool:
    try:
        _loaded(folder, name, model, digest)
    except ValueError:
        return False
    return True


def load_decoders(folder: Path, model: VisualTokenizer) -> None:
    """Load all extra decoders of the tokenizer folder that `model` was loaded from, into the model.

    One that cannot be loaded never keeps the others from it: `model.broken_decoders` has the reason.
    """
    names = decoder_names(folder)
    digest = decoder_digest(model) if names else ""
    for name in names:
        try:
            model.decoders[name] = _loaded(folder, name, model, digest)
        except ValueError as error:
            model.broken_decoders[name] = str(error)


def load_decoder(folder: Path, name: str, model: VisualTokenizer) -> ExtraDecoder:
    """Load one extra decoder of the tokenizer folder that `model` was loaded from: float32, in eval mode, on the CPU.

    Raises ValueError when there is none of this name, it is damaged, or it was trained for another tokenizer. That is
    checked before anything is allocated.
    """
    return _loaded(folder, name, model, decoder_digest(model))


def _loaded(folder: Path, name: str, model: VisualTokenizer, digest: str) -> ExtraDecoder:
    check_decoder_name(name)
    return read_decoder(folder / DECODERS_FOLDER / name, model, digest)
