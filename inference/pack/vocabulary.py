"""The vocabulary of a call: where it comes from, and whether it is that of the tokens."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...language.extend_tokenizer import extend_tokenizer
from ...language.packages import needed
from ...language.text_tokenizers import FILE as TOKENIZER_FILE
from ...language.tiktoken_text import TiktokenText
from ...sequences.from_text import is_ordinary_text
from ...sequences.modality import intervals
from ...sequences.text import TextTokenizer
from ...sequences.vocabulary import FILE, STRUCTURE, Vocabulary, vocabulary_for
from ...sequences.vocabulary_behind import vocabulary_behind
from ...tokenizer.wording import did_you_mean, nearest
from ..token_shards.manifest import Manifest

DIGITS = "digits"
"""The layout whose codes are digits, so that a vocabulary has no id for each code of the tokenizer."""
SEPARATORS = {"glm": " "}
"""What layouts write between rows and columns, where that is not a star."""


class FoundVocabulary(NamedTuple):
    """A vocabulary, and the text tokenizer that was extended for it."""

    vocabulary: Vocabulary
    tokenizer: str | None = None
    """Its tokenizer.json; None when it was not extended, as one of tiktoken cannot be."""


class Codes(NamedTuple):
    """The image ids that a layout needs."""

    size: int
    codebooks: int
    separator: str


def codes_for(tokens: Manifest, layout: str, options: Mapping[str, Any]) -> Codes:
    """Return the image ids of a layout: those of the tokenizer, or of its digits.

    Raises ValueError for a draft, which token shards do not have.
    """
    separator = SEPARATORS.get(layout, "*")
    if layout == "glm" and options.get("draft_side") != 0:
        raise ValueError(
            "The layout glm writes the tokens of a small draft before those of the image, which token shards do not have: give "
            "--layout-option draft_side=0, or write ids by vistok.sequences."
        )
    if layout != DIGITS:
        return Codes(tokens.vocab_size, tokens.num_codebooks, separator)
    return Codes(max(options["levels"]), 1, separator)


def find_vocabulary(
    named: str | None, extend: bool, source: str, text: TextTokenizer, codes: Codes, roles: Mapping[str, str | None]
) -> FoundVocabulary:
    """Return the vocabulary of a file, that of the extended text tokenizer, or the one beside the text tokenizer.

    With `extend`, one of tiktoken stays as it is, and the vocabulary alone has the names of the new ids. Where there is no
    vocabulary, codes come behind the ids of text, and structure is whatever of STRUCTURE the text tokenizer knows. `roles` are
    the names of begin, end and pad of documents. Raises ValueError.
    """
    if named and extend:
        raise ValueError(f"--vocabulary is {named}, but --extend makes a vocabulary: give one of them.")
    if named:
        return FoundVocabulary(Vocabulary.load(named))
    path = Path(source)
    beside = (path if path.is_dir() else path.parent) / FILE
    if not extend and path.exists() and beside.is_file():
        return FoundVocabulary(Vocabulary.load(beside))
    by_name = {name: role for role, name in reversed(list(roles.items())) if name and text.id_of(name) is not None}
    text_structure = {role: name for name, role in reversed(by_name.items())}  # a token has one role
    if extend:
        return _extended(path, text, codes, text_structure)
    structure = {role: name for role, name in STRUCTURE.items() if text.id_of(name) is not None}
    vocabulary = vocabulary_for(
        text, codes.size, codes.codebooks, structure, text_structure=text_structure, separator=codes.separator
    )
    return FoundVocabulary(vocabulary)


def _extended(path: Path, text: TextTokenizer, codes: Codes, text_structure: Mapping[str, str]) -> FoundVocabulary:
    options: dict[str, Any] = {"text_structure": text_structure, "separator": codes.separator}
    if isinstance(text, TiktokenText):  # it takes no tokens
        return FoundVocabulary(vocabulary_behind(text, codes.size, codes.codebooks, **options))
    file = path / TOKENIZER_FILE if path.is_dir() else path
    if file.suffix != ".json" or not file.is_file():
        raise ValueError(
            f"--extend takes a tokenizer.json or an encoding of tiktoken, but --text-tokenizer is {path}: give such a file or "
            "its folder, or leave --extend out, so that codes come behind the ids of text."
        )
    tokenizer = needed("tokenizers", "A larger text tokenizer").Tokenizer.from_file(str(file))
    vocabulary = extend_tokenizer(tokenizer, codes.size, codes.codebooks, **options)
    return FoundVocabulary(vocabulary, tokenizer.to_str())


def check_of_tokens(vocabulary: Vocabulary, tokens: Manifest, layout: str) -> None:
    """Raise ValueError when the codes of a vocabulary are not those of the tokens."""
    image = vocabulary["image"]
    if layout != DIGITS and (image.num_codebooks, image.size) != (tokens.num_codebooks, tokens.vocab_size):
        raise ValueError(
            f"The vocabulary has {image.num_codebooks} x {image.size:,} image codes, but the tokens are of "
            f"{tokens.num_codebooks} x {tokens.vocab_size:,} ({tokens.model}): give the --vocabulary of that tokenizer."
        )


def id_by_name(option: str, name: str | None, role: str, text: TextTokenizer, vocabulary: Vocabulary) -> int | None:
    """Return the id of a token that an option names, else that of the vocabulary's text for the role, else None.

    Raises ValueError for a name that the text tokenizer does not have, of a code, of structure of images, or of ordinary text.
    """
    if name is None:
        return vocabulary["text"].structure.get(role) if "text" in vocabulary else None
    number = text.id_of(name)
    if number is None:
        near = nearest(name, text.special_tokens)
        raise ValueError(
            f"{option} is {name!r}, but the text tokenizer has no such token: "
            f"{did_you_mean(near, 'give the name of one that it has')}."
        )
    if number >= vocabulary.size:
        raise ValueError(
            f"{option} is {name!r} with the id {number}, but the vocabulary ends at {vocabulary.size - 1}."
        )
    if any(part.first <= number < part.end for part in intervals(vocabulary["image"])):
        raise ValueError(f"{option} is {name!r}, which is a code of images: give the name of a special token.")
    taken = next((role for role, mark in vocabulary["image"].structure.items() if mark == number), None)
    if taken is not None:
        raise ValueError(
            f"{option} is {name!r}, which is {taken!r} of images, so that documents would not be told from them: give the name "
            "of another special token."
        )
    if is_ordinary_text(text, name, number):
        raise ValueError(
            f"{option} is {name!r}, which is ordinary text that a caption may contain: give the name of a special token."
        )
    return number
