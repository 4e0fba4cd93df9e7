"""What the options of finetune-tokenizer stand for."""

from typing import Any

from ...pretrained.find import find_tokenizer
from ...tokenizer.config import unknown_choice
from ...tokenizer.folder.save_load import load_tokenizer
from ...tokenizer.quantizers.table import QUANTIZERS

OPTIONS = {"codebook_size": "--codebook-size", "dim": "--dim", "levels": "--levels"}
"""Options of a new quantizer, by key."""


def quantizer_section(name: str | None, given: dict[str, int | str | None]) -> dict[str, Any] | None:
    """Return the section of the new quantizer as far as it was given; raise ValueError for what does not belong to it."""
    values: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if name is None:
        if values:
            raise ValueError(f"{OPTIONS[next(iter(values))]} was given without --quantizer: name the new quantizer.")
        return None
    if name not in QUANTIZERS:
        raise ValueError(unknown_choice("quantizer", f"--quantizer {name!r}", name, list(QUANTIZERS)))
    fields = QUANTIZERS[name].model_fields
    for key in values:
        if key not in fields:
            takes = (
                " and ".join(option for known, option in OPTIONS.items() if known in fields) or "--set quantizer.KEY"
            )
            raise ValueError(f"--quantizer {name} has no {OPTIONS[key]}: it takes {takes}.")
    if isinstance(levels := values.get("levels"), str):
        values["levels"] = [int(level) if level.isdecimal() else level for level in levels.split(",")]
    return {"name": name, **values}


def complete_quantizer(section: Any, model: str) -> None:
    """Fill in the channels of a table of codes, those of the old quantizer; raise ValueError when an option lacks."""
    if not isinstance(section, dict) or section.get("name") not in QUANTIZERS:
        return
    fields = QUANTIZERS[section["name"]].model_fields
    if "codebook_size" in fields and "dim" not in section:
        section["dim"] = load_tokenizer(find_tokenizer(model)).model.quantizer.dim
    lacking = [
        option for key, option in OPTIONS.items() if key in fields and fields[key].is_required() and key not in section
    ]
    if lacking:
        raise ValueError(f"--quantizer {section['name']} needs {' and '.join(lacking)}: give it.")
