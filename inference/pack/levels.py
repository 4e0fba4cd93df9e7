"""The levels of an FSQ tokenizer, whose digits a layout writes."""

import json
import math
from pathlib import Path
from typing import Any

from ...pretrained.find import BUILT_IN, CONFIG_FILE, built_in_names
from ..token_shards.manifest import Manifest

SCALAR = ("fsq", "fsp")
"""Quantizers whose codes are digits."""


def levels_for(tokens: Manifest, given: object) -> tuple[int, ...]:
    """Return the levels of the tokenizer of some tokens: those of its config where that is at hand, else those given.

    Raises ValueError when others are given, when none are known, and for a tokenizer whose codes are no digits.
    """
    name, known = _quantizer_of(tokens.model)
    if name not in (None, *SCALAR):
        raise ValueError(
            f"The layout digits writes the digits of FSQ codes, but {tokens.model} has the quantizer {name}: choose another "
            "layout, such as emu3 or interleaved."
        )
    if known and math.prod(known) == tokens.vocab_size:
        if given not in (None, known):
            raise ValueError(
                f"The layout digits has the levels {given}, but those of {tokens.model} are {list(known)}, in this order: "
                "leave the levels out, so that these are used."
            )
        return known
    if (
        not isinstance(given, tuple)
        or not all(type(level) is int for level in given)
        or math.prod(given) != tokens.vocab_size
    ):
        raise ValueError(
            f"The layout digits needs the levels of the quantizer, whose product is the {tokens.vocab_size} codes of "
            f"{tokens.model}, but has {given}: give such as --layout-option 'levels=[8,5,5]', as the tokenizer has them."
        )
    return given


def _quantizer_of(model: str) -> tuple[str | None, tuple[int, ...] | None]:
    """Return the name and levels of the quantizer of a built-in tokenizer or a folder, as far as they can be read here."""
    folder = BUILT_IN / model if model in built_in_names() else Path(model)
    try:
        quantizer: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_bytes())["quantizer"]
        return quantizer["name"], tuple(quantizer["levels"]) if quantizer["name"] in SCALAR else None
    except (OSError, ValueError, KeyError, TypeError):
        return None, None
