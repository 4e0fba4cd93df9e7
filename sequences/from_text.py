"""Ids that are found in a text tokenizer by the names of tokens."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from ..tokenizer.wording import did_you_mean, nearest
from .text import TextTokenizer

CodeName: TypeAlias = str | Callable[[int, int], str]
"""A format string with {code} and {codebook}, or a function of codebook and code that returns the name."""
Range: TypeAlias = tuple[int, int]


def ids_by_name(text: TextTokenizer, names: Mapping[str, str]) -> dict[str, int]:
    """Return the id of each role from the name of its token; raise ValueError when it is missing or ordinary text."""
    return {role: _special_id(text, name, f"the role {role!r}") for role, name in names.items()}


def codes_by_name(text: TextTokenizer, vocab_size: int, num_codebooks: int, name: CodeName) -> tuple[int, ...]:
    """Return the id of code 0 of each codebook; raise ValueError unless the ids of its codes follow in order."""
    name_of = name if callable(name) else _formatted(name, num_codebooks)
    offsets = []
    for codebook in range(num_codebooks):
        first = _special_id(text, name_of(codebook, 0), f"code 0 of codebook {codebook}")
        for code in range(1, vocab_size):
            token = name_of(codebook, code)
            if text.id_of(token) != first + code:
                raise ValueError(
                    f"Code {code} of codebook {codebook}, {token!r}, has the id {text.id_of(token)}, but code 0 has {first} "
                    "and ids must follow in order: add the codes again, in order."
                )
        offsets.append(first)
    return tuple(offsets)


class TextIds(NamedTuple):
    """The ids of a text tokenizer outside of the codes."""

    longest: Range
    more: tuple[Range, ...]
    unused: tuple[Range, ...]
    """Special tokens beside the longest range that have no role."""


def text_ids(text: TextTokenizer, first: int, codes: Sequence[Range], structure: Collection[int]) -> TextIds:
    """Return the ids of text from `first` on: all but codes, structure, and special tokens beside the longest range."""
    end = text.size
    parts, start = [], first
    for low, high in sorted(codes):
        parts.append((start, low))
        start = high
    parts = [part for part in [*parts, (start, end)] if part[0] < part[1]]
    longest = max(parts, key=lambda part: part[1] - part[0], default=(first, end))
    special = {text.id_of(name) for name in text.special_tokens} if len(parts) > 1 else set()
    owned = [number for part in parts if part != longest for number in range(*part) if number not in structure]
    return TextIds(
        longest,
        _ranges([number for number in owned if number not in special]),
        _ranges([number for number in owned if number in special]),
    )


def _ranges(ids: Sequence[int]) -> tuple[Range, ...]:
    """Return rising ids as ranges."""
    known = set(ids)
    starts = (number for number in ids if number - 1 not in known)
    ends = (number + 1 for number in ids if number + 1 not in known)
    return tuple(zip(starts, ends, strict=True))


def is_ordinary_text(text: TextTokenizer, name: str, number: int) -> bool:
    """Return whether a text that spells a token has its id."""
    try:
        return number in text.encode(name)
    except ValueError:  # it has no ids for these letters
        return False


def _formatted(name: str, num_codebooks: int) -> Callable[[int, int], str]:
    if "{code" not in name or (num_codebooks > 1 and "{codebook" not in name):
        raise ValueError(
            f"The name of codes is {name!r}, but must contain {{code}}, and {{codebook}} if there are several: give such as "
            "'<|visual token {code:06d}|>'."
        )
    return lambda codebook, code: name.format(codebook=codebook, code=code)


def _special_id(text: TextTokenizer, name: str, what: str) -> int:
    number = text.id_of(name)
    if number is None:
        near = nearest(name, text.special_tokens)
        raise ValueError(
            f"The text tokenizer has no token {name!r} for {what}: "
            f"{did_you_mean(near, 'add it with extend_tokenizer, or give the name of one that it has')}."
        )
    if is_ordinary_text(text, name, number):
        raise ValueError(
            f"The token {name!r} for {what} is ordinary text, which a caption may contain: choose a special token."
        )
    return number
