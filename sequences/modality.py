"""One modality of a vocabulary, and whether several share the ids without overlaps and gaps."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from ..tokenizer.wording import shown, unknown_choice

ROLES = ("begin", "end", "image", "row_end", "rows_end", "grid_begin", "grid_end", "pad")
"""What structure ids are for: `image` comes between the grid and the codes, `pad` where a delayed codebook has no code."""


@dataclass(frozen=True)
class Modality:
    """The ids of text, or of an image tokenizer: `size` for each codebook, from its offset on, and the structure ids.

    Structure ids may lie in the range of text, as text tokenizers count their special tokens. `names` are those of the tokens
    of some of them, by role. Text may have more ids than those from its offset on: `more` are further ranges `(first, end)`.
    """

    name: str
    offsets: tuple[int, ...]
    size: int
    structure: Mapping[str, int] = field(default_factory=dict, hash=False)
    names: Mapping[str, str] = field(default_factory=dict, hash=False)
    more: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "offsets", tuple(self.offsets))
        object.__setattr__(self, "structure", dict(self.structure))
        object.__setattr__(self, "names", dict(self.names))
        object.__setattr__(self, "more", tuple((first, end) for first, end in self.more))
        _check_modality(self)

    @property
    def num_codebooks(self) -> int:
        """How many codebooks have an offset."""
        return len(self.offsets)

    def structure_id(self, role: str, layout: str) -> int:
        """Return the id of a role; raise ValueError, naming the layout that needs it, when the modality has none."""
        if role not in self.structure:
            known = ", ".join(self.structure) or "none"
            raise ValueError(
                f"The layout {layout} needs a structure id {role!r}, but the vocabulary's {self.name} has {known}: add it to "
                "the vocabulary (extend_tokenizer does, and pack-sequences --extend), or choose another layout."
            )
        return self.structure[role]


class Interval(NamedTuple):
    """Ids from `first` up to but not including `end`, and whose they are."""

    first: int
    end: int
    owner: str

    def __str__(self) -> str:
        return f"{self.owner} ({self.first} to {self.end - 1})"


def intervals(modality: Modality) -> list[Interval]:
    """Return the ids of each codebook, then the further ranges of text."""
    single = modality.num_codebooks == 1
    codebooks = [
        Interval(offset, offset + modality.size, modality.name if single else f"codebook {index} of {modality.name}")
        for index, offset in enumerate(modality.offsets)
    ]
    return codebooks + [Interval(first, end, modality.name) for first, end in modality.more]


def check_ids(modalities: Sequence[Modality], unused: Sequence[tuple[int, int]]) -> None:
    """Raise ValueError when ids have two owners, or one below the highest has none and is not in an unused range."""
    names = [modality.name for modality in modalities]
    if not names:
        raise ValueError("The vocabulary has no modality: give one such as Modality('image', (0,), 1024).")
    if len(set(names)) < len(names):
        raise ValueError(f"The vocabulary has two modalities of the name {max(names, key=names.count)}: rename one.")
    named = [Interval(first, end, "unused") for first, end in unused]
    claimed = sorted([*(part for modality in modalities for part in intervals(modality)), *named])
    for one, other in pairwise(claimed):
        if other.first < one.end:
            raise ValueError(f"The vocabulary overlaps: {one} and {other} share ids; move one behind the other.")
    text = [modality.name for modality in modalities if modality.name == "text"]
    marks = [Interval(number, number + 1, owner) for number, owner in _structure(modalities)]
    for mark in marks:
        for part in claimed:
            if part.first <= mark.first < part.end and part.owner not in text:
                raise ValueError(f"The vocabulary overlaps: id {mark.first} is {mark.owner} and of {part}.")
    for one, other in pairwise(sorted(marks)):
        if one.first == other.first:
            raise ValueError(
                f"The vocabulary overlaps: id {one.first} is {one.owner} and {other.owner}; give one of them another token."
            )
    _check_gaps(sorted([*claimed, *marks]))


def check_numbers(modalities: Sequence[Modality], ids: frozenset[int]) -> None:
    """Raise ValueError when an id that spells numbers is a code, a structure id of an image, or beyond all ids."""
    text = [part for modality in modalities if modality.name == "text" for part in intervals(modality)]
    marks = {number for modality in modalities if modality.name != "text" for number in modality.structure.values()}
    for number in sorted(ids):
        if number in marks or not any(part.first <= number < part.end for part in text):
            raise ValueError(
                f"Numbers of a grid have the id {number}, which is not of the text: make the vocabulary with vocabulary_for."
            )


def _structure(modalities: Sequence[Modality]) -> Iterator[tuple[int, str]]:
    for modality in modalities:
        for role, number in modality.structure.items():
            yield number, f"{role!r} of {modality.name}"


def _check_gaps(parts: Sequence[Interval]) -> None:
    end = 0
    for part in parts:
        if part.first > end:
            raise ValueError(
                f"The vocabulary has a gap: ids {end} to {part.first - 1} are of no modality; give them in unused as "
                f"({end}, {part.first}), or close the gap."
            )
        end = max(end, part.end)


def _check_modality(modality: Modality) -> None:
    name, offsets, size = modality.name, modality.offsets, modality.size
    if not isinstance(name, str) or not name:
        raise ValueError(f"A modality has the name {shown(name)}, but must have one such as 'image'.")
    if not offsets or not all(is_id(offset) for offset in offsets):
        raise ValueError(f"The offsets of {name} are {shown(offsets)}, but must be one id from 0 on for each codebook.")
    if not is_id(size) or size == 0:
        raise ValueError(f"The size of {name} is {shown(size)}, but must be a number of ids from 1 on.")
    for role, number in modality.structure.items():
        if role not in ROLES:
            raise ValueError(unknown_choice("role of a structure id", repr(role), str(role), ROLES))
        if not is_id(number):
            raise ValueError(f"The id of {role!r} of {name} is {shown(number)}, but must be an integer from 0 on.")
    if len(set(modality.structure.values())) < len(modality.structure):
        raise ValueError(
            f"Two structure ids of {name} are the same in {dict(modality.structure)}: each role needs its own."
        )
    if modality.more and name != "text":
        raise ValueError(
            f"{name} has more ranges {shown(modality.more)}, but text alone may: give an offset for each codebook."
        )
    _check_names(modality)


def _check_names(modality: Modality) -> None:
    for role, token in modality.names.items():
        if role not in modality.structure:
            raise ValueError(f"{modality.name} has a name of {role!r}, but no id of this role: give both, or none.")
        if not isinstance(token, str) or not token:
            raise ValueError(f"The name of {role!r} of {modality.name} is {shown(token)}, but must be that of a token.")


def is_id(value: object) -> bool:
    """Return whether a value may be an id: an integer from 0 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
