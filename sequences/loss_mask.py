"""Which ids of a sequence are text, image codes or structure, and so which a loss counts."""

from collections.abc import Collection

import torch
from torch import Tensor
from torch.nn import functional

from ..tokenizer.wording import unknown_choice
from .layouts.content import check_range
from .modality import intervals
from .vocabulary import Vocabulary

KINDS = ("text", "image", "structure")
TEXT, IMAGE, STRUCTURE, NONE = range(4)


def kinds(vocabulary: Vocabulary, ids: Tensor) -> Tensor:
    """Return the kind of each of ids `... n`: 0 text, 1 image, 2 structure, as uint8.

    Numbers of a grid are structure: the text between begin and image, or between grid begin and grid end. The begin and end
    of a document are text. Raises ValueError for ids that are not of the vocabulary, or unused.
    """
    check_range("ids", ids, vocabulary.size)
    kind = kind_of_ids(vocabulary).to(ids.device)[ids]
    if (kind == NONE).any():
        raise ValueError(
            f"ids have {int(ids[kind == NONE][0])}, which the vocabulary names as unused: make it with the text tokenizer of "
            "the ids, or leave the id out."
        )
    numbers, roles = vocabulary.numbers, vocabulary["image"].structure
    for before, after in (("begin", "image"), ("grid_begin", "grid_end")):
        if numbers is not None and before in roles and after in roles:
            spelled = _between(ids == roles[before], ids == roles[after], kind == TEXT, numbers.max_length)
            kind = torch.where(spelled, STRUCTURE, kind)
    return kind


def kind_of_ids(vocabulary: Vocabulary) -> Tensor:
    """Return the kind of each id by itself, `v` uint8, and 3 where it is unused."""
    kind = torch.full((vocabulary.size,), NONE, dtype=torch.uint8)
    for modality in sorted(vocabulary.modalities, key=lambda each: each.name != "text"):  # structure may lie among text
        is_text = modality.name == "text"
        for part in intervals(modality):
            kind[part.first : part.end] = TEXT if is_text else IMAGE
        kind[list(modality.structure.values())] = TEXT if is_text else STRUCTURE
    return kind


def loss_mask(vocabulary: Vocabulary, ids: Tensor, train_on: Collection[str] = KINDS) -> Tensor:
    """Return whether each of ids `... n` is of the kinds to train on; the mask of targets, so that of the ids themselves."""
    for name in train_on:
        if name not in KINDS:
            raise ValueError(unknown_choice("kind of ids", repr(name), name, KINDS))
    wanted = torch.tensor([name in train_on for name in KINDS], device=ids.device)
    return wanted[kinds(vocabulary, ids).int()]


def _between(opening: Tensor, closing: Tensor, inside: Tensor, longest: int) -> Tensor:
    """Return which of `... n` lie in a stretch of `inside`, at most `longest` long, between an opening and a closing."""
    after, before = torch.zeros_like(inside), torch.zeros_like(inside)
    for _ in range(longest):
        opening = functional.pad(opening[..., :-1], (1, 0)) & inside
        closing = functional.pad(closing[..., 1:], (0, 1)) & inside
        after, before = after | opening, before | closing
    return after & before
