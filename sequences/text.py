"""What is asked of a text tokenizer, whichever library it comes from."""

from collections.abc import Sequence
from typing import Protocol


class TextTokenizer(Protocol):
    """Text to ids and back, and the ids of special tokens by their names."""

    @property
    def size(self) -> int:
        """The highest id, of added tokens too, plus 1."""

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides the ids of a text: two tokenizers of one digest give the same."""

    @property
    def special_tokens(self) -> Sequence[str]:
        """Names of the tokens that no text is encoded to, such as begin and end marks."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of text alone: never those of special, structure or image tokens, whatever the text says."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return what `encode` returns for each text."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids; those of special tokens become their names."""

    def id_of(self, token: str) -> int | None:
        """Return the id of a token by its name, or None when there is no such token."""
