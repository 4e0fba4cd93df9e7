"""Which ids of a language model are text, image codes of each codebook, and structure; kept as vocabulary.json."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..tokenizer.wording import unknown_choice
from .from_text import CodeName, codes_by_name, ids_by_name, text_ids
from .modality import Modality, check_ids, check_numbers, intervals
from .numbers import MAX_SIDE, NumberText, number_text
from .text import TextTokenizer
from .text_check import check_digest, check_text, digest_of
from .vocabulary_file import KEYS, as_json, vocabulary_fields

FILE = "vocabulary.json"
STRUCTURE: dict[str, str] = {
    "begin": "<|image_begin|>",
    "image": "<|image_codes|>",
    "row_end": "<|image_row_end|>",
    "rows_end": "<|image_rows_end|>",
    "end": "<|image_end|>",
    "grid_begin": "<|image_grid_begin|>",
    "grid_end": "<|image_grid_end|>",
    "pad": "<|image_pad|>",
}
"""Names of the structure tokens of images, unless others are given."""


@dataclass(frozen=True)
class Vocabulary:
    """The ids of a language model: modalities side by side, and how the text tokenizer spells the rows and columns of a grid.

    Every id has one owner; ids that have none, such as reserved ones, are `unused` ranges `(first, end)` without their end.
    Raises ValueError for overlaps, for gaps that are not named so, and for numbers whose ids are not of the text.
    """

    modalities: tuple[Modality, ...]
    numbers: NumberText | None = None
    unused: tuple[tuple[int, int], ...] = ()
    text_tokenizer: str | None = None
    """The digest of the text tokenizer."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "modalities", tuple(self.modalities))
        object.__setattr__(self, "unused", tuple((first, end) for first, end in self.unused))
        check_digest(self.text_tokenizer)
        check_ids(self.modalities, self.unused)
        check_numbers(self.modalities, self.numbers.ids if self.numbers else frozenset())

    @property
    def size(self) -> int:
        """The highest id plus 1: how many rows an embedding needs."""
        ids = [number for modality in self.modalities for number in modality.structure.values()]
        return 1 + max([*ids, *(part.end - 1 for modality in self.modalities for part in intervals(modality))])

    def __getitem__(self, name: str) -> Modality:
        for modality in self.modalities:
            if modality.name == name:
                return modality
        names = [modality.name for modality in self.modalities]
        raise ValueError(unknown_choice("modality of this vocabulary", repr(name), name, names))

    def __contains__(self, name: str) -> bool:
        return any(modality.name == name for modality in self.modalities)

    def check_rows(self, rows: int) -> None:
        """Raise ValueError when a model's embedding of `rows` rows, padded or not, does not hold all ids."""
        if rows < self.size:
            raise ValueError(
                f"The model's embedding has {rows} rows, but the vocabulary needs {self.size}: extend the model, or make the "
                "vocabulary for it."
            )

    def check_text(self, text: TextTokenizer) -> None:
        """Raise ValueError when the vocabulary was made with another text tokenizer: its digest, names, or grids differ."""
        check_text(text, self.text_tokenizer, self.modalities, self.numbers)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as JSON has it; equal vocabularies give equal data."""
        values = json.loads(json.dumps(asdict(self)))
        return {key: values[key] for key in KEYS}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Vocabulary":
        """Return the vocabulary of plain data; raise ValueError for unknown and missing keys and wrong values."""
        return cls(**vocabulary_fields(values))

    def save(self, folder: str | Path) -> Path:
        """Write vocabulary.json into a folder, which is made if needed, and return its path."""
        path = Path(folder) / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{FILE}.part")
        aside.write_text(as_json(self.to_dict()), encoding="utf-8")
        aside.replace(path)
        return path

    @classmethod
    def load(cls, path: str | Path) -> "Vocabulary":
        """Read the vocabulary.json of a folder, or a file; raise ValueError when it is none."""
        path = Path(path) / FILE if Path(path).is_dir() else Path(path)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ValueError(f"There is no vocabulary at {path}: give a folder with {FILE}, or such a file.") from None
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is not a vocabulary: {error}.") from None
        try:
            return cls.from_dict(values)
        except ValueError as error:
            raise ValueError(f"{path} is not a vocabulary: {error}") from None


def vocabulary_for(
    text: TextTokenizer,
    vocab_size: int,
    num_codebooks: int = 1,
    structure: Mapping[str, str] = STRUCTURE,
    *,
    text_structure: Mapping[str, str] | None = None,
    image_name: CodeName | None = None,
    image_offset: int | None = None,
    text_offset: int = 0,
    unused: Sequence[tuple[int, int]] = (),
    separator: str | None = "*",
    max_side: int = MAX_SIDE,
) -> Vocabulary:
    """Return the vocabulary of a text tokenizer and an image tokenizer of `num_codebooks` times `vocab_size` codes.

    `structure` and `text_structure` (begin, end and pad of documents) name the tokens of roles. Codes are found by name, such
    as "<|visual token {code:06d}|>" (with {codebook} if there are several), or begin at `image_offset`: by default behind the
    text tokenizer. `separator` is written between rows and columns; None for layouts that write no grid. Raises ValueError
    for a token that is missing or ordinary text, and for codes whose ids are not contiguous.
    """
    if image_name is not None:
        offsets = codes_by_name(text, vocab_size, num_codebooks, image_name)
    else:
        first = text.size if image_offset is None else image_offset
        offsets = tuple(first + vocab_size * codebook for codebook in range(num_codebooks))
    named = [(offset, offset + vocab_size) for offset in offsets] if image_name is not None else []
    image = Modality("image", offsets, vocab_size, ids_by_name(text, structure), structure)
    roles = ids_by_name(text, text_structure or {})
    (first, end), more, rest = text_ids(text, text_offset, named, {*image.structure.values(), *roles.values()})
    words = Modality("text", (first,), end - first, roles, text_structure or {}, more)
    numbers = None if separator is None else number_text(text, separator, max_side)
    return Vocabulary((words, image), numbers, (*rest, *unused), digest_of(text))


def image_vocabulary(vocab_size: int, num_codebooks: int = 1, roles: Sequence[str] = ()) -> Vocabulary:
    """Return the vocabulary of a model of images alone: the codes of each codebook from 0 on, then a structure id a role."""
    codes = vocab_size * num_codebooks
    structure = {role: codes + index for index, role in enumerate(roles)}
    return Vocabulary((Modality("image", tuple(range(0, codes, vocab_size)), vocab_size, structure),))
