"""What may follow an image, and what text may hold."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ...tokenizer.wording import shown, unknown_choice
from ..modality import intervals, is_id
from ..vocabulary import Vocabulary

Then: TypeAlias = Literal["text", "eos", "pad"]
SEQUELS = ("text", "eos", "pad")


@dataclass(frozen=True)
class Sequel:
    """Text again, the end of the sequence and padding, or padding at once."""

    then: Then
    eos: int | None
    fill: int
    """What fills a sequence after its end."""

    @property
    def last(self) -> int:
        """The id that comes right after the last image."""
        return self.fill if self.then == "pad" or self.eos is None else self.eos


def choose_sequel(vocabulary: Vocabulary, then: Then | None, eos: int | None, pad: int | None, last: int) -> Sequel:
    """Return what follows an image; ids that are not given are those of the vocabulary's text, or `last` for the padding.

    Without `then`, it is the end of the sequence where its id is known, otherwise text where there is any, otherwise padding.
    """
    structure = vocabulary["text"].structure if "text" in vocabulary else {}
    eos = structure.get("end") if eos is None else eos
    pad = structure.get("pad") if pad is None else pad
    for name, number in (("eos", eos), ("pad", pad)):
        if number is not None and not is_id(number):
            raise ValueError(f"{name} is {shown(number)}, but must be an id, from 0 on.")
    if then is None:
        then = "eos" if eos is not None else "text" if "text" in vocabulary else "pad"
    if then not in SEQUELS:
        raise ValueError(unknown_choice("sequel of an image", f"then={then!r}", str(then), SEQUELS))
    if then == "eos" and eos is None:
        raise ValueError("then is 'eos', but the vocabulary has no end of text: give eos=ID, or then='text' or 'pad'.")
    if then == "text" and "text" not in vocabulary:
        raise ValueError("then is 'text', but the vocabulary has images alone: leave then out, or give 'eos' or 'pad'.")
    return Sequel(then, eos, next(number for number in (pad, eos, last) if number is not None))


def text_mask(vocabulary: Vocabulary, begin: int | None, sequel: Sequel, size: int) -> Tensor:
    """Return which of `size` ids text may hold, boolean `v`: those of text, the begin of an image, and the end of the sequence.

    Never codes, other structure of images, padding, or what is no id of the vocabulary, as in a padded head.
    """
    allowed = torch.zeros(size, dtype=torch.bool)
    if "text" in vocabulary:
        text = vocabulary["text"]
        for part in intervals(text):
            allowed[part.first : part.end] = True
        allowed[list(text.structure.values())] = True
        allowed[[number for role, number in text.structure.items() if role == "pad"]] = False
    others = [modality for modality in vocabulary.modalities if modality.name != "text"]
    allowed[[number for modality in others for number in modality.structure.values()]] = False
    allowed[sequel.fill] = False
    allowed[[number for number in (begin, sequel.eos) if number is not None]] = True
    return allowed
