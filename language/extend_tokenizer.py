"""Give a text tokenizer the codes of an image tokenizer, and the tokens that frame an image."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..sequences.numbers import MAX_SIDE
from ..sequences.vocabulary import STRUCTURE, Vocabulary, vocabulary_for
from ..tokenizer.wording import list_first, pluralize, shown
from .hugging_face import hugging_face_text
from .model_vocabulary import bare, with_tokens
from .packages import needed
from .text_alone import CODE, Definition, names_of

ONE_CODEBOOK, SEVERAL_CODEBOOKS = CODE + "{code:06d}|>", CODE + "{codebook} {code:06d}|>"
"""Names of codes. Their spaces matter: text tokenizers spell spaces otherwise, so that no text is one of these names."""


def extend_tokenizer(
    tokenizer: Any,
    vocab_size: int,
    num_codebooks: int = 1,
    structure: Mapping[str, str] = STRUCTURE,
    *,
    text_structure: Mapping[str, str] | None = None,
    separator: str | None = "*",
    max_side: int = MAX_SIDE,
) -> Vocabulary:
    """Add the codes of an image tokenizer and its structure tokens to a text tokenizer, in place; return the vocabulary.

    `tokenizer` is a fast one of transformers or one of `tokenizers`. The new ids follow its highest: first the codes of each
    codebook, then the structure tokens that it does not have, which become special tokens. What it had keeps its ids, and
    text its encoding. The other arguments are those of `vocabulary_for`. A second call changes nothing.

    Raises ValueError for a tokenizer that cannot be extended, or that has other codes already.
    """
    backend = _backend(tokenizer)
    for what, number in (("vocab_size", vocab_size), ("num_codebooks", num_codebooks)):
        if not isinstance(number, int) or number < 1:
            raise ValueError(f"{what} is {shown(number)}, but must be an integer from 1 on.")
    definition = json.loads(backend.to_str())
    names = names_of(definition)
    codes = list(_codes(vocab_size, num_codebooks))
    marks = [name for name in dict.fromkeys(structure.values()) if name not in names]
    is_extended = any(name.startswith(CODE) for name in names)
    if is_extended:
        _check_same(names, codes, marks, vocab_size)
    else:
        definition = with_tokens(definition, codes, marks)
    vocabulary = vocabulary_for(
        hugging_face_text(definition, threads=False, where="The tokenizer"),
        vocab_size,
        num_codebooks,
        structure,
        text_structure=text_structure,
        image_name=_name_of(num_codebooks),
        separator=separator,
        max_side=max_side,
    )
    if not is_extended:
        _take(backend, definition, codes, marks)
    return vocabulary


def _backend(tokenizer: Any) -> Any:
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not hasattr(backend, "to_str"):
        raise ValueError(
            f"{shown(tokenizer)} cannot be extended: give a fast tokenizer of transformers, or one of tokenizers (a"
            " tokenizer.json); for an encoding of tiktoken, vocabulary_behind puts all new ids behind its own."
        )
    return backend


def _take(backend: Any, definition: Definition, codes: list[str], marks: list[str]) -> None:
    """Give a tokenizer the model of a definition, and its marks; raise ValueError if text would be encoded as codes."""
    library = needed("tokenizers", "A larger text tokenizer")
    larger = library.Tokenizer.from_str(json.dumps(bare(definition), ensure_ascii=False))
    for code in [*codes[:1], *codes[-1:]]:
        if larger.token_to_id(code) in larger.encode(code, add_special_tokens=False).ids:
            raise ValueError(
                "The text tokenizer cannot be extended: it takes text as it is for a token of its vocabulary, so that a"
                f" caption that says {code!r} would be an image token; choose one that splits text at spaces."
            )
    backend.model = larger.model
    backend.add_special_tokens([library.AddedToken(mark, normalized=False, special=True) for mark in marks])


def _check_same(names: Mapping[str, int], codes: list[str], missing: list[str], vocab_size: int) -> None:
    """Raise ValueError unless a tokenizer has exactly these codes, and no structure token is missing."""
    if missing:
        raise ValueError(
            f"The text tokenizer was extended before, without {list_first(missing, 3)}: extend the original one again."
        )
    found = sum(name.startswith(CODE) for name in names)
    if found != len(codes) or any(name not in names for name in codes):
        raise ValueError(
            f"The text tokenizer already has {pluralize(found, 'code')}, which are not {vocab_size} in each of"
            f" {pluralize(len(codes) // vocab_size, 'codebook')}: extend the original one again."
        )


def _codes(vocab_size: int, num_codebooks: int) -> Iterator[str]:
    name = _name_of(num_codebooks)
    return (name.format(codebook=q, code=code) for q in range(num_codebooks) for code in range(vocab_size))


def _name_of(num_codebooks: int) -> str:
    return ONE_CODEBOOK if num_codebooks == 1 else SEVERAL_CODEBOOKS
