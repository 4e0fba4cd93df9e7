"""Rewrite the definition of a tokenizer (tokenizer.json) so that it encodes any text as text alone.

Special tokens are found in the text itself by `tokenizers`, before its model sees the text. Turning that off leaves two
holes: added tokens that are not marked as special, such as `<tool_call>`, and tokens in the model's own vocabulary that it
takes without a merge: whole words (`ignore_merges`, WordLevel, WordPiece) and pieces of score 0 (Unigram).
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

Definition = dict[str, Any]
"""What a tokenizer.json holds."""
HIDDEN = "\0not text: "
"""Begins the names that tokens have in the rewritten model so that no text spells them."""
CODE = "<|visual token "
"""Begins the names of codes of images."""
BRACKETS = {"<": ">", "[": "]", "{": "}"}


class TextAlone(NamedTuple):
    """A definition that encodes text alone, with the ids of the original one."""

    definition: Definition
    names: dict[str, int]
    """All tokens of the original, and their ids."""
    control: frozenset[int]
    """Ids that are not text: special and structure tokens, codes of images, and the token for what is unknown."""
    special_tokens: tuple[str, ...]
    """Names of the added tokens among them."""


def text_alone(definition: Definition) -> TextAlone:
    """Return a definition without control tokens: what spells them is encoded as the text that it is.

    Added tokens of spaces alone remain, as several models spell runs of spaces by them; so do tokens that merges make. BPE
    dropout, which encodes a text otherwise each time, is left out.
    """
    model = definition["model"] | ({"dropout": None} if "dropout" in definition["model"] else {})
    names = names_of(definition)
    kept = [token for token in definition["added_tokens"] if _is_text(token)]
    special = tuple(token["content"] for token in definition["added_tokens"] if not _is_text(token))
    control = {names[name] for name in special} | {names[name] for name in _control_in(model)}
    texts = {token["content"]: token["id"] for token in kept}
    if isinstance(model["vocab"], list):
        control |= _hide_pieces(model, control, texts)
    else:
        control |= _hide_words(model, control, texts, free=1 + max(names.values(), default=-1))
    alone = {**definition, "model": model, "added_tokens": kept}
    alone |= {"post_processor": None, "truncation": None, "padding": None}
    return TextAlone(alone, names, frozenset(control), special)


def digest_of(alone: TextAlone) -> str:
    """Return the SHA-256 of all that decides the ids of a text, whichever tokens there are that no text is encoded to."""
    definition, model = alone.definition, alone.definition["model"]
    vocab, merges = model["vocab"], [list(_parts(merge)) for merge in model.get("merges", ())]
    pieces = enumerate(vocab) if isinstance(vocab, list) else ((index, [name]) for name, index in vocab.items())
    added = {token["content"] for token in definition["added_tokens"]}
    text = sorted(
        [index, *piece] for index, piece in pieces if piece[0] not in added and not piece[0].startswith((HIDDEN, CODE))
    )
    options = {
        key: value for key, value in model.items() if value and key not in ("vocab", "merges", "unk_token", "unk_id")
    }
    steps = [definition.get(key) for key in ("normalizer", "pre_tokenizer", "decoder", "added_tokens")]
    return hashlib.sha256(json.dumps([options, text, merges, steps], sort_keys=True).encode()).hexdigest()


def names_of(definition: Definition) -> dict[str, int]:
    """Return all tokens of a definition and their ids."""
    return vocabulary_of(definition["model"]) | {token["content"]: token["id"] for token in definition["added_tokens"]}


def vocabulary_of(model: Mapping[str, Any]) -> dict[str, int]:
    """Return the tokens of a model and their ids, without added tokens."""
    vocab = model["vocab"]
    return {piece: index for index, (piece, _) in enumerate(vocab)} if isinstance(vocab, list) else dict(vocab)


def is_bracketed(name: str) -> bool:
    """Return whether a name is enclosed in brackets, as `<s>`, `[MASK]` and `<|image|>`: the habit of control tokens."""
    return len(name) > 2 and BRACKETS.get(name[0]) == name[-1]


def _is_text(token: Mapping[str, Any]) -> bool:
    return not token["special"] and all(c.isspace() or c == "▁" for c in token["content"])


def _control_in(model: Mapping[str, Any]) -> set[str]:
    """Return the bracketed tokens of a model that its training did not make from text."""
    if isinstance(model["vocab"], list):  # trained pieces have the logarithm of a probability
        names = {piece for piece, score in model["vocab"] if score >= 0 and is_bracketed(piece)}
    else:
        names = {name for name in model["vocab"] if is_bracketed(name)}
        names -= {"".join(_parts(merge)) for merge in model.get("merges", ())} if names else set()
    return names - ({f"<0x{byte:02X}>" for byte in range(256)} if model.get("byte_fallback") else set())


def _parts(merge: str | list[str]) -> list[str]:
    return merge.split(" ") if isinstance(merge, str) else merge


def _hide_words(model: dict[str, Any], control: set[int], texts: Mapping[str, int], free: int) -> set[int]:
    """Take control tokens out of a vocabulary of words, and return the id of what is unknown: `free`, if it has none."""
    vocab, unknown = model["vocab"], model.get("unk_token")
    out = {name for name, index in vocab.items() if index in control or name == unknown}
    if out:
        out.difference_update(*map(_parts, model.get("merges", ())))
    kept = {name: index for name, index in vocab.items() if name not in out} | dict(texts)
    model["vocab"] = kept
    if unknown not in kept:
        model["unk_token"] = HIDDEN + "unknown"  # without one, BPE drops what it does not know
        kept[model["unk_token"]] = vocab.get(unknown, free)
    return {kept[model["unk_token"]]}


def _hide_pieces(model: dict[str, Any], control: set[int], texts: Mapping[str, int]) -> set[int]:
    """Rename control tokens in a list of pieces, and return the id that stands for unknown text."""
    pieces = [[HIDDEN + piece if i in control else piece, score] for i, (piece, score) in enumerate(model["vocab"])]
    pieces += [[f"{HIDDEN}{i}", 0.0] for i in range(len(pieces), 1 + max(texts.values(), default=-1))]
    for text, index in texts.items():
        pieces[index][0] = text
    model["vocab"] = pieces
    return set() if model.get("unk_id") is None else {model["unk_id"]}
