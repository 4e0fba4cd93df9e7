"""A tokenizer of Hugging Face's `tokenizers` that encodes text as text alone."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from ..tokenizer.wording import shown
from .packages import needed
from .text_alone import Definition, digest_of, text_alone


@dataclass(frozen=True)
class HuggingFaceText:
    """Text to the ids of a tokenizer of `tokenizers`, and back. It pickles, and works in forked and spawned workers."""

    tokenizer: Any
    """Encodes and decodes text alone."""
    names: dict[str, int]
    """All tokens, and their ids."""
    control: frozenset[int]
    """Ids that are not text."""
    special_tokens: tuple[str, ...]
    """Names of the added tokens that no text is encoded to."""
    threads: bool
    digest: str
    """SHA-256 of all that decides the ids of a text: adding codes and structure tokens does not change it."""

    @cached_property
    def size(self) -> int:
        """The highest id + 1, that of added tokens included."""
        return 1 + max(self.names.values(), default=-1)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without special tokens; raise ValueError when it needs ids that are not text."""
        return self._one(text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text; raise ValueError for the first one that needs ids that are not text."""
        if not self.threads:
            return [self._one(text) for text in texts]
        try:
            encodings = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        except Exception:  # one by one, to say which
            return [self._one(text) for text in texts]
        return [self._checked(text, encoding.ids) for text, encoding in zip(texts, encodings, strict=True)]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids; those that are not text are spelled by name. Raise ValueError for unknown ids."""
        unknown = next((index for index in ids if index not in self._by_id), None)
        if unknown is not None:
            raise ValueError(
                f"The id {unknown} is not one of this text tokenizer's {self.size} ids: decode text alone."
            )
        return "".join(self._runs(ids))

    def id_of(self, token: str) -> int | None:
        """Return the id of a token of this name, special tokens included; None when there is none."""
        return self.names.get(token)

    @cached_property
    def _by_id(self) -> dict[int, str]:
        return {index: name for name, index in self.names.items()}

    def _runs(self, ids: Sequence[int]) -> Iterator[str]:
        for is_control, run in groupby(ids, self.control.__contains__):
            if is_control:
                yield "".join(self._by_id[index] for index in run)
            else:
                yield self.tokenizer.decode(list(run), skip_special_tokens=False)

    def _one(self, text: str) -> list[int]:
        try:
            (encoding,) = self.tokenizer.encode_batch_fast([text], add_special_tokens=False)  # faster than `encode`
        except Exception as error:  # `tokenizers` has no type of its own for errors
            raise ValueError(f"The text {shown(text)} cannot be encoded: {_why(text, error)}.") from None
        return self._checked(text, encoding.ids)

    def _checked(self, text: str, ids: list[int]) -> list[int]:
        if not self.control.isdisjoint(ids):
            index = next(index for index in ids if index in self.control)
            name = self._by_id.get(index)
            what = "what this tokenizer does not know" if name is None else f"the token {name!r}, which is not text"
            raise ValueError(f"The text {shown(text)} cannot be encoded without {what}: leave it out or change it.")
        return ids


def hugging_face_text(definition: Definition, threads: bool, where: str) -> HuggingFaceText:
    """Return the text tokenizer of a definition (what a tokenizer.json holds); raise ValueError when it is none."""
    tokenizers = needed("tokenizers", "A text tokenizer of Hugging Face")
    try:
        alone = text_alone(definition)
        tokenizer = tokenizers.Tokenizer.from_str(json.dumps(alone.definition, ensure_ascii=False))
    except Exception as error:
        raise ValueError(f"{where} is not a tokenizer.json that tokenizers can read: {error}.") from None
    return HuggingFaceText(tokenizer, alone.names, alone.control, alone.special_tokens, threads, digest_of(alone))


def _why(text: object, error: Exception) -> str:
    if not isinstance(text, str):
        return f"it is {type(text).__name__}, but must be str"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "it holds half a surrogate pair, which is no character"
    return str(error)
