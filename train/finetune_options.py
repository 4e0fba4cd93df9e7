"""What the options of finetune-tokenizer stand for."""

from typing import Any

from ..pretrained import find_tokenizer
from ..tokenizer.config import unknown_choice
from ..tokenizer.quantizers import QUANTIZERS
from ..tokenizer.quantizers.elementary import ELEMENTARY
from ..tokenizer.weights import load_tokenizer


def quantizer_section(name: str | None, given: dict[str, int | str | None], model: str) -> dict[str, Any] | None:
    """Return the section of the new quantizer from what was given by name; raise ValueError when it does not fit."""
    options = {key: "--" + key.replace("_", "-") for key in given}
    values: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if name is None:
        if values:
            raise ValueError(f"{options[next(iter(values))]} was given without --quantizer: name the new quantizer.")
        return None
    if name in QUANTIZERS and name not in ELEMENTARY:
        raise ValueError(
            f"--quantizer is {name}, which is made of others: give --set 'quantizer={{name: {name}, ...}}' instead."
        )
    if name not in ELEMENTARY:
        raise ValueError(unknown_choice("quantizer", f"--quantizer {name!r}", name, list(QUANTIZERS)))
    fields = ELEMENTARY[name].model_fields
    if isinstance(levels := values.get("levels"), str):
        values["levels"] = [int(level) if level.isdecimal() else level for level in levels.split(",")]
    has_table = "codebook_size" in fields
    needed = [
        key for key in options if key in fields and fields[key].is_required() and not (has_table and key == "dim")
    ]
    if not set(needed) <= set(values) <= set(fields):
        asked, got = (" and ".join(options[key] for key in keys) or "nothing" for keys in (needed, values))
        raise ValueError(f"--quantizer {name} needs {asked}, but got {got}.")
    if has_table:
        values.setdefault("dim", _latent_channels(model))
    return {"name": name, **values}


def _latent_channels(model: str) -> int:
    return load_tokenizer(find_tokenizer(model)).model.quantizer.dim
