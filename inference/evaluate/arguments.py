"""What evaluate-tokenizer is given: the tokenizers first, then the images."""

import difflib
import os
from collections.abc import Sequence
from typing import NamedTuple

from ...images.finding.inputs import ALLOWED_ANYWHERE
from ...pretrained.find import HUB_PREFIX, built_in_names, find_tokenizer, is_tokenizer_folder, names_tokenizer
from ...pretrained.public import PUBLIC


class Arguments(NamedTuple):
    """Tokenizers to evaluate, and images to evaluate them on."""

    models: list[str]
    data: list[str]


def split_arguments(first: str, others: Sequence[str]) -> Arguments:
    """Return the tokenizers and the images: `first` is a tokenizer, and so are those that follow and name one.

    The last is images if it exists and is no tokenizer folder, even with the name of a tokenizer. Raises ValueError when no
    images are left, when a tokenizer comes after images or comes twice, and when a text that does not exist is nearly the
    name of a tokenizer.
    """
    count = next((index for index, text in enumerate(others) if not names_tokenizer(text)), len(others))
    if count == len(others) > 0 and os.path.lexists(others[-1]) and not is_tokenizer_folder(others[-1]):
        count -= 1
    models, data = [first, *others[:count]], list(others[count:])
    if not data:
        raise ValueError(f"{models[-1]} names a tokenizer, and no images follow it: {ALLOWED_ANYWHERE}.")
    for text in data:
        if is_tokenizer_folder(text) or (names_tokenizer(text) and not os.path.lexists(text)):
            raise ValueError(
                f"{text} names a tokenizer, but comes after the images {data[0]}: give all tokenizers first."
            )
        if not os.path.lexists(text) and difflib.get_close_matches(text, [*built_in_names(), *PUBLIC], n=1):
            find_tokenizer(text)  # raises, with the name that was meant
    again = next((model for index, model in enumerate(models) if model in models[:index]), None)
    if again is not None:
        raise ValueError(f"{again} is given twice: name each tokenizer once.")
    return Arguments(models, data)


def short_names(models: Sequence[str]) -> list[str]:
    """Return the ends of names and paths that tell tokenizers apart; a run is called by its folder, not by its export."""
    parts = [model.removeprefix(HUB_PREFIX).rstrip("/").removesuffix("/export").split("/") for model in models]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return list(models)
