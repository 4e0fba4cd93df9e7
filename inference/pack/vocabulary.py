"""The vocabulary of a call: where it comes from, and whether it is that of the tokens."""

from pathlib import Path

from ...sequences.text import TextTokenizer
from ...sequences.vocabulary import FILE, STRUCTURE, Vocabulary, vocabulary_for
from ...tokenizer.wording import did_you_mean, nearest
from ..token_shards.manifest import Manifest

DIGITS = "digits"
"""The layout whose codes are digits, so that a vocabulary has no id for each code of the tokenizer."""


def find_vocabulary(named: str | None, text_tokenizer: str, text: TextTokenizer, tokens: Manifest) -> Vocabulary:
    """Return the vocabulary of a file, else the one beside the text tokenizer, else codes behind the ids of text.

    In the last case structure is whatever of it the text tokenizer knows by the names of STRUCTURE. Raises ValueError.
    """
    if named:
        return Vocabulary.load(named)
    path = Path(text_tokenizer)
    beside = (path if path.is_dir() else path.parent) / FILE
    if (path.is_dir() or path.is_file()) and beside.is_file():
        return Vocabulary.load(beside)
    structure = {role: name for role, name in STRUCTURE.items() if text.id_of(name) is not None}
    return vocabulary_for(text, tokens.vocab_size, tokens.num_codebooks, structure)


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

    Raises ValueError for a name that the text tokenizer does not have.
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
        raise ValueError(f"{option} is {name!r} with the id {number}, but the vocabulary ends at {vocabulary.size - 1}.")
    return number
