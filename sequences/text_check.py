"""Whether a text tokenizer is the one that a vocabulary was made with."""

import re
from collections.abc import Sequence

from ..tokenizer.wording import shown
from .modality import Modality
from .numbers import NumberText
from .text import TextTokenizer

DIGEST = re.compile("[0-9a-f]{64}")


def digest_of(text: TextTokenizer) -> str | None:
    """Return the digest of a text tokenizer, or None for one of a few lines that has none."""
    return getattr(text, "digest", None)


def check_digest(digest: object) -> None:
    """Raise ValueError unless a digest is a SHA-256 in hexadecimal digits, or None."""
    if digest is not None and not (isinstance(digest, str) and DIGEST.fullmatch(digest)):
        raise ValueError(
            f"text_tokenizer is {shown(digest)}, but must be the SHA-256 that a text tokenizer has as its digest, or null."
        )


def check_text(
    text: TextTokenizer, digest: str | None, modalities: Sequence[Modality], numbers: NumberText | None
) -> None:
    """Raise ValueError when a text tokenizer has another digest, other ids of the names, or other numbers.

    Names that it does not have are no fault, as it may be the one that was extended by them.
    """
    for modality in modalities:
        for role, name in modality.names.items():
            number, kept = text.id_of(name), modality.structure[role]
            if number not in (None, kept):
                raise ValueError(
                    f"The vocabulary has the id {kept} for {role!r} of {modality.name}, but {name!r} has {number} in the text "
                    "tokenizer: give the text tokenizer that the vocabulary was made with, or make it again."
                )
    given = digest_of(text)
    if digest is not None and given is not None and digest != given:
        raise ValueError(
            f"The vocabulary was made with another text tokenizer ({digest[:12]}) than the one given ({given[:12]}): "
            "give that one, or make a vocabulary with this one."
        )
    if numbers is not None:
        _check_numbers(text, numbers)


def _check_numbers(text: TextTokenizer, numbers: NumberText) -> None:
    side = numbers.max_side
    for y, x in ((1, 1), (1, side), (side, 1), (side, side)):
        try:
            is_same = tuple(text.encode(f"{y}{numbers.separator}{x}")) == numbers.write(y, x)
        except ValueError:  # it has no ids for digits
            is_same = False
        if not is_same:
            raise ValueError(
                f"The vocabulary is not of this text tokenizer, which spells '{y}{numbers.separator}{x}' with other ids: give "
                "the text tokenizer that it was made with, or make a vocabulary with this one."
            )
