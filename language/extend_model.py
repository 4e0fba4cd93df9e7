"""Give a language model of transformers a row for each id of a vocabulary."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..sequences.modality import intervals
from ..sequences.vocabulary import Vocabulary
from .model_checks import check_codebooks, check_model, check_padding, check_vocabulary
from .new_rows import drawn_rows, projected_rows, statistics_of
from .text_tokenizers import text_tokenizer_of

MARK = "visual_vocabulary"
"""Where the config of a model keeps the modalities that it was extended by."""


class Rows(NamedTuple):
    """The rows of an extended model."""

    total: int
    """How many its embedding has: `config.vocab_size`."""
    new: tuple[range, ...]
    """The ids of the vocabulary that were added to its text: those of each codebook, and of structure."""
    padding: tuple[int, ...]
    """Ids that no token has, from the end of the text on."""


def extend_model(
    model: Any,
    vocabulary: Vocabulary,
    codebook: Tensor | Sequence[Tensor] | None = None,
    multiple_of: int = 128,
    seed: int = 0,
    tokenizer: Any = None,
) -> Rows:
    """Give a causal language model of transformers rows for the ids of a vocabulary, in place, and return which there are.

    Rows of text keep their bits. New rows of the embedding, and of a head that is not tied to it, are drawn from a normal
    distribution with the mean and covariance of the text's; those of codes come from `codebook` instead, if given: `k c`, or
    one for each codebook. A bias of the head is the mean of the text's. The number of rows is padded to a multiple. Padding
    rows are the mean of the text's, so that their logit is never above all of those, and `generate` suppresses their ids. A
    second call with the same vocabulary changes nothing. Give the `tokenizer` of the model, extended or not, to have the
    vocabulary compared with it, as the ids alone do not tell whose they are.

    Raises ValueError when the vocabulary does not fit the model or the tokenizer, and for weights that are not whole in memory.
    """
    check_model(model, multiple_of)
    if tokenizer is not None:
        vocabulary.check_text(text_tokenizer_of(tokenizer, threads=False))
    before = len(model.get_input_embeddings().weight)
    text = check_vocabulary(vocabulary, before)
    known = range(text.offsets[0], text.offsets[0] + text.size)
    end = max(part.end for part in intervals(text))
    new = _new_ids(vocabulary, known, check_codebooks(codebook, vocabulary))
    rows = _rows(end, new, -(-max(vocabulary.size, before) // multiple_of) * multiple_of)
    if _is_extended(model, vocabulary):
        return rows
    check_padding(end, before)
    _resize(model, rows.total)
    generator = torch.Generator().manual_seed(seed)
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    padding = [index for index in rows.padding if index >= before]
    with torch.no_grad():
        _fill(embedding.weight, known, new, padding, generator)
        if head is not None and head.weight is not embedding.weight:
            _fill(head.weight, known, new, padding, generator)
        if getattr(head, "bias", None) is not None:
            mean = head.bias[known.start : known.stop].float().mean()
            head.bias[[*itertools.chain(*rows.new), *padding]] = mean.to(head.bias.dtype)
    _remember(model, vocabulary, rows.padding)
    return rows


class New(NamedTuple):
    """Ids that get rows, and the codes `k c` that these come from, if any."""

    ids: range
    codes: Tensor | None


def _new_ids(vocabulary: Vocabulary, known: range, codebooks: Sequence[Tensor] | None) -> list[New]:
    """Return the ids of codebooks, then those of structure that are not among the ids of text."""
    others = [modality for modality in vocabulary.modalities if modality.name != "text"]
    new = []
    for modality in others:
        for codebook, part in enumerate(intervals(modality)):
            codes = codebooks[codebook] if codebooks and modality.name == "image" else None
            new.append(New(range(part.first, part.end), codes))
    structure = {index for modality in others for index in modality.structure.values() if index not in known}
    return new + [New(range(index, index + 1), None) for index in sorted(structure)]


def _rows(end: int, new: Sequence[New], total: int) -> Rows:
    ids = tuple(entry.ids for entry in new)
    taken = set(itertools.chain(*ids))
    return Rows(total, ids, tuple(index for index in range(end, total) if index not in taken))


def _is_extended(model: Any, vocabulary: Vocabulary) -> bool:
    """Return whether a model was extended by this vocabulary; raise ValueError when it was by another one."""
    mark = getattr(model.config, MARK, None)
    if mark is not None and mark != _mark(vocabulary):
        raise ValueError("The model was extended by another vocabulary before: extend the original model again.")
    return mark is not None


def _mark(vocabulary: Vocabulary) -> list[dict[str, Any]]:
    plain: list[dict[str, Any]] = vocabulary.to_dict()["modalities"]
    keys = ("name", "offsets", "size", "structure")
    return [{key: modality[key] for key in keys} for modality in plain if modality["name"] != "text"]


def _resize(model: Any, rows: int) -> None:
    """Let the model's own method resize it, which knows its config, its tied weights and its bias."""
    device = model.get_input_embeddings().weight.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):  # it draws rows of its own
        model.resize_token_embeddings(rows, mean_resizing=False)


def _fill(
    weight: nn.Parameter, known: range, new: Sequence[New], padding: Sequence[int], generator: torch.Generator
) -> None:
    """Write the rows of new ids and of padding."""
    statistics = statistics_of(weight[known.start : known.stop])
    for ids, codes in new:
        if codes is None:
            _write(weight, ids, drawn_rows(statistics, len(ids), generator))
        else:
            _write(weight, ids, projected_rows(statistics, codes.to(weight.device), generator))
    weight[list(padding)] = statistics.mean.to(weight.dtype)


def _write(weight: nn.Parameter, ids: range, chunks: Iterator[Tensor]) -> None:
    start = ids.start
    for chunk in chunks:
        weight[start : start + len(chunk)] = chunk.to(weight.dtype)
        start += len(chunk)


def _remember(model: Any, vocabulary: Vocabulary, padding: Sequence[int]) -> None:
    """Keep the vocabulary in the config, and the ids that `generate` never returns in its own config."""
    setattr(model.config, MARK, _mark(vocabulary))
    generation = getattr(model, "generation_config", None)
    if generation is not None and padding:
        generation.suppress_tokens = sorted({*(generation.suppress_tokens or ()), *padding})
