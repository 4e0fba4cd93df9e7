"""The vocabulary of a text tokenizer that takes no tokens: the new ones have ids behind its own, and names here alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .numbers import MAX_SIDE
from .text import TextTokenizer
from .vocabulary import STRUCTURE, Vocabulary, vocabulary_for


def vocabulary_behind(
    text: TextTokenizer,
    vocab_size: int,
    num_codebooks: int = 1,
    structure: Mapping[str, str] = STRUCTURE,
    *,
    text_structure: Mapping[str, str] | None = None,
    separator: str | None = "*",
    max_side: int = MAX_SIDE,
) -> Vocabulary:
    """Return the vocabulary of a text tokenizer as it is, such as one of tiktoken, and an image tokenizer behind it.

    The codes of each codebook follow the highest id of the text tokenizer, then the structure tokens that it does not have, in
    the order of `structure`: as `extend_tokenizer` numbers them. The vocabulary keeps their names. The arguments are those of
    `vocabulary_for`, and so are the errors.
    """
    first = text.size + vocab_size * num_codebooks
    new = [name for name in dict.fromkeys(structure.values()) if text.id_of(name) is None]
    return vocabulary_for(
        _WithNames(text, {name: first + index for index, name in enumerate(new)}),
        vocab_size,
        num_codebooks,
        structure,
        text_structure=text_structure,
        separator=separator,
        max_side=max_side,
    )


@dataclass(frozen=True)
class _WithNames:
    """A text tokenizer with the names of some more ids, which no text has."""

    text: TextTokenizer
    names: Mapping[str, int]

    @property
    def size(self) -> int:
        """The highest id of the text tokenizer, plus 1."""
        return self.text.size

    @property
    def digest(self) -> str:
        """That of the text tokenizer."""
        return self.text.digest

    @property
    def special_tokens(self) -> Sequence[str]:
        """Names of the tokens that no text is encoded to."""
        return [*self.text.special_tokens, *self.names]

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        return self.text.encode(text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text."""
        return self.text.encode_batch(texts)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids."""
        return self.text.decode(ids)

    def id_of(self, token: str) -> int | None:
        """Return the id of a token by its name, or None."""
        return self.names.get(token, self.text.id_of(token))
