"""Refuse, each in one sentence, what a language model cannot be extended with."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..sequences.modality import Modality, intervals
from ..sequences.vocabulary import Vocabulary
from ..tokenizer.wording import pluralize, shown

MAX_PADDING = 1024
"""Models pad their embedding by fewer rows than these; more of them hold something."""


def check_model(model: Any, multiple_of: int) -> None:
    """Raise ValueError unless a model is one of transformers whose embedding and head are whole, in floating point."""
    if not hasattr(model, "resize_token_embeddings") or not hasattr(model, "get_output_embeddings"):
        raise ValueError(f"{type(model).__name__} cannot be extended: give a causal language model of transformers.")
    if not isinstance(multiple_of, int) or multiple_of < 1:
        raise ValueError(f"multiple_of is {shown(multiple_of)}, but must be an integer from 1 on.")
    for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
        weight: Any = getattr(layer, "weight", None)
        if layer is not None and not _is_whole(weight):
            raise ValueError(
                "The model's embedding or head is not whole in memory here (on the meta device, or shared among processes by"
                " ZeRO, FSDP or tensor parallelism): extend the model on one device, save it, and load that."
            )
        if layer is not None and not weight.is_floating_point():
            raise ValueError(
                f"The model's embedding or head is quantized ({weight.dtype}): extend the model before it is quantized."
            )


def check_vocabulary(vocabulary: Vocabulary, rows: int) -> Modality:
    """Return the text of a vocabulary; raise ValueError when a model's embedding of `rows` rows is not of this text."""
    if "text" not in vocabulary:
        raise ValueError(
            "The vocabulary has no text, so that there is no language model to extend: build a model of its size."
        )
    text = vocabulary["text"]
    end = max(part.end for part in intervals(text))
    if end > rows:
        raise ValueError(
            f"The model's embedding has {rows} rows, but the vocabulary's text has ids up to {end - 1}: make the vocabulary"
            " with the text tokenizer of this model, or resize the model for tokens that were added to it."
        )
    others = [modality for modality in vocabulary.modalities if modality.name != "text"]
    lowest = min((offset for modality in others for offset in modality.offsets), default=end)
    if lowest < end:
        raise ValueError(
            f"The vocabulary has image ids from {lowest} on, before the end of its text at {end}: they would take rows of the"
            " model; make a vocabulary whose images follow its text."
        )
    return text


def check_padding(end: int, rows: int) -> None:
    """Raise ValueError when there are so many rows behind the text that they are no padding."""
    if rows - end > MAX_PADDING:
        raise ValueError(
            f"The model's embedding has {rows - end} rows behind the {end} of the vocabulary's text, which are too many for"
            " padding: they seem to be of other modalities, and would be lost."
        )


def check_codebooks(codebook: Tensor | Sequence[Tensor] | None, vocabulary: Vocabulary) -> list[Tensor] | None:
    """Return the codes `k c` of each codebook, if any are given; raise ValueError when they are not the vocabulary's."""
    if codebook is None:
        return None
    image = vocabulary["image"]
    codebooks = list(codebook[None] if isinstance(codebook, Tensor) and codebook.ndim == 2 else codebook)
    shapes = [tuple(codes.shape) for codes in codebooks]
    if len(shapes) != image.num_codebooks or any(len(shape) != 2 or shape[0] != image.size for shape in shapes):
        raise ValueError(
            f"The codebooks have the shapes {shown(shapes)}, but the vocabulary needs"
            f" {pluralize(image.num_codebooks, 'codebook')} of {image.size} x c."
        )
    for codes in codebooks:
        if not torch.isfinite(codes).all() or bool((codes == codes[0]).all()):
            raise ValueError("A codebook has codes that are not finite, or all equal: draw the rows without it.")
    return codebooks


def _is_whole(weight: Any) -> bool:
    return (
        isinstance(weight, Tensor)
        and weight.ndim == 2
        and weight.numel() > 0
        and not weight.is_meta
        and not hasattr(weight, "ds_id")
        and not hasattr(weight, "placements")
    )
