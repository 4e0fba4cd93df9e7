"""What a prior knows of the codes beforehand: where they are in code space, so that it need not learn which are alike."""

import torch
from torch import Tensor

from ...tokenizer.quantizers.base import Quantizer
from .symbols import Alphabet, Slot

MAX_DIRECTIONS = 32
"""Directions of code space that are kept, those along which the codes vary most."""
COMPLETIONS = 64
"""Values of the other digits that the code of a digit is averaged over."""
ROUNDING = 1e-12
"""Codes that differ by less than this, in proportion to their length, are alike."""


@torch.no_grad()
def code_features(quantizer: Quantizer, alphabet: Alphabet) -> list[Tensor]:
    """Return features `k f` of the values of each slot, float32 on the CPU: coordinates along main axes, and their squares.

    With both, a linear function of the features is any Gaussian along the axes. They have mean 0 and variance 1 over the
    values; where all codes are alike, there are none. The code of a digit is the mean over the same random values of the other
    digits of its token.
    """
    generator = torch.Generator().manual_seed(0)
    features, index = [], 0
    for codebook, radices in zip(quantizer.codebooks(), alphabet.radices, strict=True):
        slots = alphabet.slots[index : index + len(radices)]
        index += len(radices)
        others = [
            [torch.randint(slot.size, (), generator=generator).item() for slot in slots] for _ in range(COMPLETIONS)
        ]
        features += [_features(_codes(codebook, slots, place, others)) for place in range(len(slots))]
    return features


def _codes(codebook: Quantizer, slots: list[Slot], place: int, others: list[list[int | float]]) -> Tensor:
    """Return the mean codes `k d` of the values of one digit."""
    device = next(iter([*codebook.parameters(), *codebook.buffers()]), torch.empty(0)).device
    values = torch.arange(slots[place].size)
    total: Tensor | None = None
    completions = others if len(slots) > 1 else others[:1]
    for digits in completions:
        rest = sum(
            int(digit) * slot.weight for at, (digit, slot) in enumerate(zip(digits, slots, strict=True)) if at != place
        )
        tokens = (rest + values * slots[place].weight).clamp(max=codebook.vocab_size - 1)
        codes = codebook.code_rows(tokens.to(device)).cpu().double()
        total = codes if total is None else total + codes
    assert total is not None
    return total / len(completions)


def _features(codes: Tensor) -> Tensor:
    centred = codes - codes.mean(dim=0)
    energies, axes = torch.linalg.eigh(centred.T @ centred / len(codes))
    kept = energies > torch.maximum(1e-6 * energies.max(), ROUNDING**2 * codes.square().mean())
    if not kept.any():
        return torch.zeros(len(codes), 0)
    along = centred @ axes[:, kept][:, -MAX_DIRECTIONS:]
    both = torch.cat([along, along.square()], dim=1)
    both = both - both.mean(dim=0)
    deviations = both.square().mean(dim=0).sqrt()
    varies = deviations > 1e-6 * deviations.max()  # the squares of two values are alike
    return (both[:, varies] / deviations[varies]).float()
