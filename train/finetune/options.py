"""From the options of finetune-tokenizer to a config."""

from pathlib import Path
from typing import Any

from ...pretrained.load_found import load_found
from ...tokenizer.config import Config, parse_config
from ...tokenizer.folder.decoders import check_decoder_name
from ...tokenizer.quantizers import QUANTIZERS
from ...tokenizer.wording import unknown_choice
from ..config_file import apply_override
from .config import FinetuneConfig
from .decoder_config import NETWORKS, RECIPE_NAMES, RESIDUAL, GenerativeConfig
from .stored_config import read_stored

QUANTIZER_OPTIONS = {"codebook_size": "--codebook-size", "dim": "--dim", "levels": "--levels"}
"""Options of a new quantizer, by config key."""
DECODER_DATA = {"crop": 64, "batch_size": 32}
"""Crops for an extra decoder, whose loss is noisy: as many pixels as for the other stages, of more images."""


def finetune_config(
    *,
    model: str,
    data: list[str],
    out: Path,
    size: int | None = None,
    quantizer: str | None,
    quantizer_keys: dict[str, int | str | None],
    grow_to: int | None,
    only: str | None,
    decoder: str | None = None,
    recipe: str | None = None,
    steps: int | None,
    val: list[str],
    seed: int,
    overrides: list[str],
) -> FinetuneConfig:
    """Return the config that the options, as typed, describe; raise ValueError for the first thing wrong."""
    fields = FinetuneConfig.model_fields.items()
    values: dict[str, Any] = {
        # Sections are written out, so that --set can change one key.
        **{name: field.default.model_dump() for name, field in fields if isinstance(field.default, Config)},
        "model": model,
        "out": str(out),
        "data": {"train": data, "val": val},
        "size": size,
        "quantizer": _quantizer_section(quantizer, quantizer_keys),
        "grow_to": grow_to,
        "seed": seed,
    }
    values["generative"] = _generative_section(decoder, recipe, out)
    if decoder is None:
        values["joint"]["steps"] = steps
    else:
        values["data"] |= DECODER_DATA
    if only is not None:
        values["train"] = only.replace(" ", "").split(",")
    for override in overrides:
        apply_override(values, override)
    if decoder is None and values["generative"] is not None:
        raise ValueError("--set generative was given without --decoder: name the decoder to train.")
    _complete_quantizer(values["quantizer"], model)
    if decoder is not None:
        values["joint"]["steps"] = 0
        _check_name(values["generative"], decoder)
        _complete_generative(values["generative"], steps)
    elif isinstance(joint := values["joint"], dict) and joint.get("steps") is None:
        joint["steps"] = 1000 if values["quantizer"] is None and values["grow_to"] is None else 0
    return parse_config(FinetuneConfig, values)


def _generative_section(decoder: str | None, recipe: str | None, out: Path) -> dict[str, Any] | None:
    """Return the section of an extra decoder; stages keep what they were given in an earlier call of the same folder."""
    if decoder is None:
        if recipe is not None:
            raise ValueError("--recipe was given without --decoder: name the decoder to train.")
        return None
    if recipe is not None and recipe not in RECIPE_NAMES:
        raise ValueError(unknown_choice("recipe", f"--recipe {recipe!r}", recipe, list(RECIPE_NAMES)))
    check_decoder_name(decoder)
    section = GenerativeConfig(name=decoder).model_dump()
    before = read_stored(out)
    if before and before.generative and before.generative.name == decoder:
        section = before.generative.model_dump()
    return section | {"name": decoder, "recipe": recipe or section["recipe"]}


def _check_name(section: Any, decoder: str) -> None:
    if isinstance(section, dict) and section.get("name") != decoder:
        raise ValueError(
            f"--set generative.name is {section.get('name')}, but --decoder is {decoder}: leave out the first."
        )


def _complete_generative(section: Any, steps: int | None) -> None:
    """Give the last stage its steps, and the network its name."""
    if not isinstance(section, dict):
        return
    recipe = section.get("recipe")
    if steps is not None and isinstance(stage := section.get(recipe), dict):
        stage["steps"] = steps
    if isinstance(network := section.get("network"), dict):
        network.setdefault("name", NETWORKS.get(recipe, RESIDUAL))


def _quantizer_section(name: str | None, keys: dict[str, int | str | None]) -> dict[str, Any] | None:
    """Return the section of the new quantizer as far as it was given."""
    given: dict[str, Any] = {key: value for key, value in keys.items() if value is not None}
    if name is None:
        if given:
            option = QUANTIZER_OPTIONS[next(iter(given))]
            raise ValueError(f"{option} was given without --quantizer: name the new quantizer.")
        return None
    if name not in QUANTIZERS:
        raise ValueError(unknown_choice("quantizer", f"--quantizer {name!r}", name, list(QUANTIZERS)))
    fields = QUANTIZERS[name].model_fields
    for key in given:
        if key not in fields:
            allowed = [option for known, option in QUANTIZER_OPTIONS.items() if known in fields]
            raise ValueError(
                f"--quantizer {name} has no {QUANTIZER_OPTIONS[key]}: use "
                f"{' and '.join(allowed) or '--set quantizer.KEY=VALUE'}."
            )
    if isinstance(levels := given.get("levels"), str):
        given["levels"] = [int(level) if level.isdecimal() else level for level in levels.replace(" ", "").split(",")]
    return {"name": name, **given}


def _complete_quantizer(section: Any, model: str) -> None:
    """Give a codebook the old quantizer's channels by default; raise ValueError if an option is missing."""
    if not isinstance(section, dict) or section.get("name") not in QUANTIZERS:
        return
    fields = QUANTIZERS[section["name"]].model_fields
    if {"codebook_size", "dim"} <= set(fields) and "dim" not in section:
        section["dim"] = load_found(model).model.quantizer.dim
    required = {key: option for key, option in QUANTIZER_OPTIONS.items() if key in fields and fields[key].is_required()}
    missing = [option for key, option in required.items() if key not in section]
    if missing:
        raise ValueError(f"--quantizer {section['name']} needs {' and '.join(missing)}: give it.")
