"""Import a public checkpoint of any family as a tokenizer folder."""

import hashlib
import re
import shutil
from pathlib import Path

import torch
from torch import Tensor

from ...tokenizer.files import aside_of
from ...tokenizer.folder.config_json import TokenizerConfig
from ...tokenizer.folder.fingerprint import fingerprint
from ...tokenizer.folder.save_load import check_finite, save_tokenizer
from ...tokenizer.model import VisualTokenizer, build_tokenizer
from ...tokenizer.wording import list_first, unknown_choice
from .base import Importer, Shapes
from .checkpoint import read_checkpoint
from .table import IMPORTERS

SHOWN = 4


def import_checkpoint(checkpoint: Path, out: Path, family: str | None = None) -> tuple[str, str]:
    """Write a checkpoint as the tokenizer folder `out`, and return its family and fingerprint.

    Raises ValueError when `out` exists, the family is unknown or not recognised by the tensors, the checkpoint would run code,
    or a tensor is missing, unused or of the wrong shape.
    """
    if out.exists():
        raise ValueError(f"--out is {out}, which exists already: give a new folder.")
    if family is not None and family not in IMPORTERS:
        raise ValueError(unknown_choice("family", f"FAMILY {family!r}", family, list(IMPORTERS)))
    tensors = read_checkpoint(checkpoint)
    shapes = Shapes({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    family = family or _recognise(checkpoint, shapes)
    importer = IMPORTERS[family]
    try:
        config = importer.config(shapes)
        model = _build(importer, config, tensors)
    except ValueError as error:
        raise ValueError(f"{checkpoint} cannot be imported as {family}: {str(error).rstrip('.')}.") from None
    check_finite(checkpoint, model.state_dict())
    aside = aside_of(out)
    shutil.rmtree(aside, ignore_errors=True)
    save_tokenizer(aside, model, config.architecture, config.preprocessing, _card(out, checkpoint, importer, config))
    aside.rename(out)
    return family, fingerprint(model, config)


def _recognise(checkpoint: Path, shapes: Shapes) -> str:
    found = [name for name, importer in IMPORTERS.items() if importer.recognises(shapes)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"{checkpoint} may be of the families {' and '.join(found)}: name one before the checkpoint.")
    groups = sorted({".".join(name.split(".")[:2]) for name in shapes})
    raise ValueError(
        f"{checkpoint} is not recognised as one of {', '.join(IMPORTERS)} by its tensors ({list_first(groups, SHOWN)}): if you "
        "know the family, name it before the checkpoint."
    )


def _build(importer: Importer, config: TokenizerConfig, tensors: dict[str, Tensor]) -> VisualTokenizer:
    """Return a tokenizer with the weights of a checkpoint; raise ValueError unless they fit exactly."""
    unused = {name: tensor for name, tensor in tensors.items() if not re.fullmatch(importer.ignored, name)}

    def take(name: str) -> Tensor:
        if name not in tensors:
            raise ValueError(f"it has no tensor {name}")
        assert name in unused, f"{name} is used twice"
        return unused.pop(name)

    with torch.device("meta"):
        expected = build_tokenizer(config.architecture, config.quantizer).state_dict()
    weights = importer.weights(config, expected, take)
    if unused:
        raise ValueError(f"its tensors {list_first(sorted(unused), SHOWN)} have no place in the tokenizer")
    for name, tensor in expected.items():
        if weights[name].shape != tensor.shape:
            raise ValueError(f"{name} has the shape {tuple(weights[name].shape)}, but must have {tuple(tensor.shape)}")
    model = build_tokenizer(config.architecture, config.quantizer)
    model.load_state_dict(weights)
    return model.eval().requires_grad_(False)


def _card(out: Path, checkpoint: Path, importer: Importer, config: TokenizerConfig) -> str:
    side = config.architecture.downsample
    digest = hashlib.sha256()
    with checkpoint.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return f"""# {out.resolve().name}

A {importer.title} tokenizer: {config.quantizer.name} quantizer, one token for {side} x {side} pixels.

Imported by vistok from `{checkpoint.name}` (SHA-256 `{digest.hexdigest()}`), a checkpoint for the code at {importer.source}.
The licence of the original weights applies.

{importer.preprocessing_note}
"""
