"""Put tokens into the vocabulary of a tokenizer's model, where they are names of ids and nothing else: no merge makes them.

An added token is searched for in every text, and joins a table that is built at loading: 131,072 of them make that several
times as long, and captions that spell them become them. Added tokens that are in no vocabulary get an id that is counted
from its size whenever the tokenizer is loaded; so those go into the vocabulary too, each with the id that it has.
"""

from collections.abc import Sequence

from .text_alone import Definition, vocabulary_of

ADDED = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}


def with_tokens(definition: Definition, codes: Sequence[str], marks: Sequence[str]) -> Definition:
    """Return a definition whose model has all added tokens, then codes and marks behind its highest id, in their order.

    Marks become special tokens. Ids that no token has get a name, since vocabularies are saved without gaps.
    """
    model = dict(definition["model"])
    names = {index: name for name, index in vocabulary_of(model).items()}
    missing = {token["id"]: token["content"] for token in definition["added_tokens"] if token["id"] not in names}
    end = 1 + max([*names, *missing], default=-1)
    missing |= {end + index: token for index, token in enumerate([*codes, *marks])}
    missing |= {index: f"<|no token {index}|>" for index in range(end) if index not in names and index not in missing}
    if isinstance(model["vocab"], list):
        lowest = min((score for _, score in model["vocab"]), default=0.0)  # what is unknown costs more than the lowest
        model["vocab"] = [*model["vocab"], *([missing[index], lowest] for index in sorted(missing))]
    else:
        model["vocab"] = {**model["vocab"], **{missing[index]: index for index in sorted(missing)}}
    added = [{"id": end + len(codes) + index, "content": mark, **ADDED} for index, mark in enumerate(marks)]
    return {**definition, "model": model, "added_tokens": [*definition["added_tokens"], *added]}


def bare(definition: Definition) -> Definition:
    """Return a definition without added tokens."""
    return {**definition, "added_tokens": [], "post_processor": None}
