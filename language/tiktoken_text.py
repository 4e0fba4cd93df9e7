"""An encoding of tiktoken, by its name or from a .tiktoken file."""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ..tokenizer.wording import list_first, shown, unknown_choice
from .packages import needed

WHAT = "An encoding of tiktoken"


class Splitting(NamedTuple):
    """How an encoding splits text before it merges bytes, which a .tiktoken file does not say."""

    names: str
    pattern: str
    special: Mapping[str, int]


GPT_2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
WORDS = r"(?i:'(?:[sdmt]|ll|ve|re))|[^\r\n\p{L}\p{N}]?\p{L}+"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
THREE_DIGITS = rf"{WORDS}|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|"
ONE_DIGIT = THREE_DIGITS.replace("{1,3}", "")
UPPER, LOWER, SUFFIX = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", r"(?i:'(?:[sdmt]|ll|ve|re))?"
GPT_4O = "|".join(
    (
        rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{SUFFIX}",
        rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{SUFFIX}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        SPACES,
    )
)
END = "<|endoftext|>"
FILL = {"<|fim_prefix|>": 100258, "<|fim_middle|>": 100259, "<|fim_suffix|>": 100260}
SPLITTINGS: dict[int, Splitting] = {
    50_256: Splitting("gpt2 and r50k_base", GPT_2, {END: 50256}),
    50_280: Splitting("p50k_base", GPT_2, {END: 50256}),
    100_256: Splitting(
        "cl100k_base", rf"{THREE_DIGITS}\s+$|{SPACES}", {END: 100257, **FILL, "<|endofprompt|>": 100276}
    ),
    128_000: Splitting("Llama 3", THREE_DIGITS + SPACES, {}),
    151_643: Splitting("Qwen", ONE_DIGIT + SPACES, {END: 151643}),
    199_998: Splitting("o200k_base", GPT_4O, {END: 199999, "<|endofprompt|>": 200018}),
}
"""How encodings split text, by the number of their ranks."""


@dataclass(frozen=True)
class TiktokenText:
    """Text to the ids of an encoding of tiktoken, and back. It pickles."""

    encoding: Any
    threads: bool

    @property
    def size(self) -> int:
        """The highest id + 1, special tokens included."""
        return int(self.encoding.max_token_value) + 1

    @cached_property
    def digest(self) -> str:
        """SHA-256 of its ranks, its pattern and its special tokens, which decide the ids of any text."""
        encoding = self.encoding
        facts = (encoding._pat_str, sorted(encoding._special_tokens.items()), sorted(encoding._mergeable_ranks.items()))
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    @property
    def special_tokens(self) -> list[str]:
        """Names of the tokens that no text is encoded to."""
        return sorted(self.encoding.special_tokens_set)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without special tokens; raise ValueError for what is not Unicode."""
        _check(text)
        ids: list[int] = self.encoding.encode_ordinary(text)
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text; raise ValueError for the first one that is not Unicode."""
        for text in texts:
            _check(text)
        if not self.threads:
            return [self.encoding.encode_ordinary(text) for text in texts]
        ids: list[list[int]] = self.encoding.encode_ordinary_batch(list(texts))
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, with special tokens spelled by name; raise ValueError for unknown ids."""
        try:
            text: str = self.encoding.decode(list(ids))
        except KeyError as error:
            raise ValueError(f"{error.args[0]}: it is not one of this text tokenizer's {self.size} ids.") from None
        return text

    def id_of(self, token: str) -> int | None:
        """Return the id of a token of this name, special tokens included; None when there is none."""
        try:
            index: int = self.encoding.encode_single_token(token)
        except KeyError:
            return None
        return index


def named_encoding(name: str, threads: bool) -> TiktokenText:
    """Return an encoding by its name; raise ValueError for an unknown one, or one that cannot be downloaded."""
    tiktoken = needed("tiktoken", WHAT)
    known = tiktoken.list_encoding_names()
    if name not in known:
        raise ValueError(unknown_choice("text tokenizer", f"{name!r} is not a file or a folder here, and", name, known))
    try:
        return TiktokenText(tiktoken.get_encoding(name), threads)
    except Exception as error:  # whatever its client of the network raises
        raise ValueError(
            f"tiktoken cannot get {name}: {error}. Set TIKTOKEN_CACHE_DIR to a folder that has it, or give its .tiktoken file."
        ) from None


def encoding_file(path: Path, threads: bool) -> TiktokenText:
    """Return the encoding of a .tiktoken file, whose number of ranks tells how it splits text.

    Raises ValueError when it is no such file, or its number of ranks is none that is known.
    """
    tiktoken = needed("tiktoken", WHAT)
    ranks = _read_ranks(path)
    if len(ranks) not in SPLITTINGS:
        known = list_first([f"{count} ({splitting.names})" for count, splitting in SPLITTINGS.items()], len(SPLITTINGS))
        raise ValueError(
            f"{path} has {len(ranks)} ranks, but does not say how its text is split, which is known for {known} ranks alone:"
            " give the model's tokenizer.json."
        )
    splitting = SPLITTINGS[len(ranks)]
    encoding = tiktoken.Encoding(
        path.stem, pat_str=splitting.pattern, mergeable_ranks=ranks, special_tokens=dict(splitting.special)
    )
    return TiktokenText(encoding, threads)


def _read_ranks(path: Path) -> dict[bytes, int]:
    try:
        rows = [line.split() for line in path.read_bytes().splitlines() if line]
        return {base64.b64decode(token, validate=True): int(rank) for token, rank in rows}
    except (ValueError, binascii.Error):
        raise ValueError(f"{path} is not a .tiktoken file, whose lines hold a token in base64 and its rank.") from None


def _check(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"The text {shown(text)} cannot be encoded: it holds half a surrogate pair, which is no character."
        ) from None
