"""The shortest vectors of the Leech lattice: numbered, not stored, and searched by their structure.

Times sqrt(32) they are of three shapes, in this order (Conway and Sloane, chapter 4.11):
1. (+-2^8, 0^16): an octad of the Golay code and an even number of minus signs; octad * 128 + signs of its first 7 channels.
2. (-+3, +-1^23): (1, ..., 1, -3, 1, ...) with the signs of a word of the Golay code; word * 24 + channel of the 3.
3. (+-4^2, 0^22): pair of channels * 4 + their signs.
A sign counts as bit 1 where it is minus; words are numbered by their first 12 bits.
"""

import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...shapes import CodeIndices, Codes, Vectors
from .golay import HALF, golay_words

DIM = 24
WORDS = 1 << HALF
SIGNS_OF_OCTAD = 1 << 7
PAIRS = list(itertools.combinations(range(DIM), 2))
SQUARED_LENGTH = 32
AT_ONCE_ON_CPU, AT_ONCE = 64, 2048
"""Vectors that are searched at a time, about 150 kB each: on a CPU as many as its cache holds."""
DIGITS = 46
"""Binary digits of a channel that the search looks at: 24 of them times 4 are still exact in float64."""


class _Found(NamedTuple):
    """The best code of a shape for each vector."""

    score: Tensor
    number: CodeIndices


class LeechVectors(nn.Module):
    """The 196,560 shortest vectors, of length 1, as codes that are found and looked up by arithmetic alone."""

    octads: Tensor
    """Channels of each octad, rising, `o 8`."""
    right: Tensor
    """Last 12 bits of each word of the Golay code."""
    pairs: Tensor

    def __init__(self) -> None:
        super().__init__()
        words = golay_words()
        octads = [[i for i in range(DIM) if word >> i & 1] for word in words if word.bit_count() == 8]
        self.register_buffer("octads", torch.tensor(octads), persistent=False)
        self.register_buffer("right", torch.tensor([word >> HALF for word in words]), persistent=False)
        self.register_buffer("pairs", torch.tensor(PAIRS), persistent=False)
        self.sizes = [len(octads) * SIGNS_OF_OCTAD, WORDS * DIM, len(PAIRS) * 4]
        self.count = sum(self.sizes)

    def codes(self, numbers: CodeIndices) -> Codes:
        """Return the codes `n 24` of numbers ` n` in [0, count)."""
        first, second, third = (
            (numbers - before).clamp(0, size - 1)
            for size, before in zip(self.sizes, itertools.accumulate(self.sizes, initial=0), strict=False)
        )
        empty = numbers.new_zeros(len(numbers), DIM)
        octad = empty.scatter(1, self.octads[first // SIGNS_OF_OCTAD], 2 * self._octad_signs()[first % SIGNS_OF_OCTAD])
        word = self._word_signs(second // DIM)
        place = (second % DIM).unsqueeze(1)
        word = word.scatter(1, place, -3 * word.gather(1, place))
        pair = empty.scatter(1, self.pairs[third // 4], 4 * self._signs(third % 4, 2))
        shape = self._shape(numbers).unsqueeze(1)
        whole = torch.where(shape == 0, octad, torch.where(shape == 1, word, pair))
        return whole.float() * SQUARED_LENGTH**-0.5

    @torch.no_grad()
    def nearest(self, vectors: Vectors) -> CodeIndices:
        """Return the number of the code with the greatest dot product for vectors `n 24` whose channels lie in [-1, 1].

        Each channel is rounded to 46 binary digits. From there on all is exact, whatever the device and the other vectors,
        and a tie goes to the lowest number; a channel that is NaN counts as 0. The device is not waited for.
        """
        at_once = AT_ONCE_ON_CPU if vectors.device.type == "cpu" else AT_ONCE
        return torch.cat([self._nearest(part) for part in vectors.split(at_once)])

    def _nearest(self, vectors: Vectors) -> CodeIndices:
        # Whole numbers in float64, whose sums below 2^53 are exact in any order; `24 n`, for rows are gathered fastest.
        whole = (vectors.double().nan_to_num(0.0) * 2.0**DIGITS).round().T.contiguous()
        found = [self._octad(whole), self._word(whole), self._pair(whole)]
        shape = torch.stack([each.score for each in found]).argmax(dim=0, keepdim=True)
        starts = itertools.accumulate(self.sizes, initial=0)
        numbers = torch.stack([each.number + start for each, start in zip(found, starts, strict=False)])
        return numbers.gather(0, shape).squeeze(0)

    def _octad(self, whole: Tensor) -> _Found:
        """Of each octad take the signs of the vector; where the minuses are odd, its least channel changes its own."""
        size = whole.abs()
        members = size.new_zeros(len(self.octads), DIM).scatter(1, self.octads, 1.0)
        is_odd = (members @ (whole < 0).to(size.dtype)).int() & 1
        least = size.index_select(0, self.octads[:, 0])
        for column in self.octads.T[1:]:
            torch.minimum(least, size.index_select(0, column), out=least)
        best = _first_greatest(members @ size - 2 * is_odd * least)
        chosen = whole.gather(0, self.octads[best].T)
        by_signs = self._octad_signs().to(size.dtype) @ chosen
        return _Found(2 * by_signs.amax(dim=0), best * SIGNS_OF_OCTAD + _first_greatest(by_signs))

    def _word(self, whole: Tensor) -> _Found:
        """Of each word take the sum with its signs, and 4 times the greatest channel that has the other sign."""
        left, right = whole[:HALF], whole[HALF:]
        sums = _signed_sums(left).add_(_signed_sums(right).index_select(0, self.right))
        greatest = _signed_greatest(right).index_select(0, self.right)
        sums.add_(torch.maximum(_signed_greatest(left), greatest, out=greatest), alpha=4)
        best = _first_greatest(sums)
        place = _first_greatest(-self._word_signs(best).T * whole)
        return _Found(sums.amax(dim=0), best * DIM + place)

    def _pair(self, whole: Tensor) -> _Found:
        size = whole.abs()
        sums = size.index_select(0, self.pairs[:, 0]) + size.index_select(0, self.pairs[:, 1])
        best = _first_greatest(sums)
        minus = (whole.gather(0, self.pairs[best].T) < 0).long()
        return _Found(4 * sums.amax(dim=0), best * 4 + minus[0] + 2 * minus[1])

    def _shape(self, numbers: CodeIndices) -> Tensor:
        return (numbers >= self.sizes[0]).long() + (numbers >= self.sizes[0] + self.sizes[1]).long()

    def _octad_signs(self) -> Tensor:
        """Return all signs with an even number of minuses, `128 8`: those of the first 7 channels in the order of numbers."""
        first = self._signs(torch.arange(SIGNS_OF_OCTAD, device=self.octads.device), 7)
        return torch.cat([first, first.prod(dim=1, keepdim=True)], dim=1)

    def _word_signs(self, words: CodeIndices) -> Tensor:
        return torch.cat([self._signs(words, HALF), self._signs(self.right[words], HALF)], dim=1)

    @staticmethod
    def _signs(bits: CodeIndices, count: int) -> Tensor:
        return 1 - 2 * (bits.unsqueeze(1) >> torch.arange(count, device=bits.device) & 1)


def _signed_sums(half: Tensor) -> Tensor:
    """Return the sums of 12 channels `12 n` with all signs, `4096 n`: bit i of the place says that channel i has a minus."""
    sums = half.new_empty(WORDS, half.shape[1])
    sums[0] = 0
    for index, channel in enumerate(half):
        plus, minus = sums[: 1 << index], sums[1 << index : 2 << index]
        torch.sub(plus, channel, out=minus)
        plus.add_(channel)
    return sums


def _signed_greatest(half: Tensor) -> Tensor:
    """Return the greatest of 12 channels `12 n` with all signs turned round, `4096 n`."""
    greatest = half.new_empty(WORDS, half.shape[1])
    greatest[0] = -torch.inf
    for index, channel in enumerate(half):
        plus, minus = greatest[: 1 << index], greatest[1 << index : 2 << index]
        torch.maximum(plus, channel, out=minus)
        torch.maximum(plus, -channel, out=plus)
    return greatest


def _first_greatest(values: Tensor) -> Tensor:
    """Return the place of the greatest value of each column, the first of equal ones."""
    return values.T.contiguous().argmax(dim=1)
