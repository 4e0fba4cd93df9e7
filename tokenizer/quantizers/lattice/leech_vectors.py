"""The shortest vectors of the Leech lattice: computed from their index, not stored, and searched by their structure.

Times sqrt(32) they have three shapes, in this order (chapter 4.11 of https://doi.org/10.1007/978-1-4757-6568-7):
1. (+-2^8, 0^16): an octad of the Golay code and an even number of minus signs; octad * 128 + signs of its first 7 channels.
2. (-+3, +-1^23): (1, ..., 1, -3, 1, ...) with the signs of a word of the Golay code; word * 24 + channel of the 3.
3. (+-4^2, 0^22): pair of channels * 4 + their signs.
A minus sign is bit 1; the index of a word is its first 12 bits.
"""

import copy
import itertools
from typing import TypeAlias

import torch
from torch import Tensor, nn

from ...devices import widest_float
from ...shapes import CodeIndices, Codes, Vectors
from ..search.exported import is_exporting
from .signed_sums import first_max, signed_maxima, signed_sums

DIM = 24
HALF = 12
WORDS = 1 << HALF
"""Words of the extended binary Golay code."""
RESIDUES = (0, 1, 3, 4, 5, 9)
"""0 and the squares modulo 11."""
SIGNS_OF_OCTAD = 1 << 7
PAIRS = list(itertools.combinations(range(DIM), 2))
SQUARED_LENGTH = 32
AT_ONCE_ON_CPU, AT_ONCE = 64, 2048
"""Vectors searched at a time, about 150 kB each: on a CPU as many as fit into its cache."""
DIGITS = 46
"""Binary digits of a channel that the search uses: sums of 24 channels times 4 are still exact in float64."""


_Best: TypeAlias = tuple[Tensor, CodeIndices]
"""Score of the best code of a shape for each vector, and its index within the shape."""


class LeechVectors(nn.Module):
    """The 196,560 shortest vectors, scaled to length 1."""

    octads: Tensor
    """Channels of each octad, ascending, `o 8`."""
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
        self.starts = [sum(self.sizes[:shape]) for shape in range(len(self.sizes))]
        self.count = sum(self.sizes)

    def codes(self, indices: CodeIndices) -> Codes:
        """Return the codes `n 24` of indices ` n` in [0, count)."""
        first, second, third = (
            (indices - before).clamp(0, size - 1) for size, before in zip(self.sizes, self.starts, strict=True)
        )
        empty = indices.new_zeros(indices.shape[0], DIM)
        octad = empty.scatter(1, self.octads[first // SIGNS_OF_OCTAD], 2 * self._octad_signs()[first % SIGNS_OF_OCTAD])
        word = self._word_signs(second // DIM)
        channel = (second % DIM).unsqueeze(1)
        word = word.scatter(1, channel, -3 * word.gather(1, channel))
        pair = empty.scatter(1, self.pairs[third // 4], 4 * self._signs(third % 4, 2))
        is_octad, is_pair = (indices < self.sizes[0]).unsqueeze(1), (indices >= sum(self.sizes[:2])).unsqueeze(1)
        whole = torch.where(is_octad, octad, torch.where(is_pair, pair, word))
        return whole.float() * SQUARED_LENGTH**-0.5

    @torch.no_grad()
    def nearest(self, vectors: Vectors) -> CodeIndices:
        """Return the index of the code with the max dot product for vectors `n 24` whose channels lie in [-1, 1].

        Channels are rounded to 46 binary digits, and NaN to 0. From there all is exact, whatever the device and the other
        vectors, and a tie goes to the lowest index. This does not wait for the device.
        """
        if is_exporting():  # a program cannot split what it does not know the size of
            return self._nearest(vectors)
        at_once = AT_ONCE_ON_CPU if vectors.device.type == "cpu" else AT_ONCE
        return torch.cat([self._nearest(part) for part in vectors.split(at_once)])

    def _nearest(self, vectors: Vectors) -> CodeIndices:
        if widest_float(vectors.device) != torch.float64:  # Apple's GPU alone is waited for
            return copy.deepcopy(self).cpu()._nearest(vectors.cpu()).to(vectors.device)
        # Integers in float64, whose sums below 2^53 are exact in any order; `24 n`, since rows are gathered fastest.
        whole = (vectors.double().nan_to_num(0.0) * 2.0**DIGITS).round().T.contiguous()
        best = [self._octad(whole), self._word(whole), self._pair(whole)]
        shape = torch.stack([score for score, _ in best]).argmax(dim=0, keepdim=True)
        indices = torch.stack([index + start for (_, index), start in zip(best, self.starts, strict=True)])
        return indices.gather(0, shape).squeeze(0)

    def _octad(self, whole: Tensor) -> _Best:
        """Give each octad the signs of the vector; if the minuses are odd, its smallest channel flips."""
        size = whole.abs()
        members = size.new_zeros(len(self.octads), DIM).scatter(1, self.octads, 1.0)
        is_odd = (members @ (whole < 0).to(size.dtype)).int() & 1
        smallest = size.index_select(0, self.octads[:, 0])
        for column in self.octads.T[1:]:
            torch.minimum(smallest, size.index_select(0, column), out=smallest)
        best = first_max(members @ size - 2 * is_odd * smallest)
        chosen = whole.gather(0, self.octads[best].T)
        by_signs = self._octad_signs().to(size.dtype) @ chosen
        return 2 * by_signs.amax(dim=0), best * SIGNS_OF_OCTAD + first_max(by_signs)

    def _word(self, whole: Tensor) -> _Best:
        """Sum each word with its signs, and add 4 times the max channel with the other sign."""
        left, right = whole[:HALF], whole[HALF:]
        sums = signed_sums(left).add_(signed_sums(right).index_select(0, self.right))
        maxima = signed_maxima(right).index_select(0, self.right)
        sums.add_(torch.maximum(signed_maxima(left), maxima, out=maxima), alpha=4)
        best = first_max(sums)
        channel = first_max(-self._word_signs(best).T * whole)
        return sums.amax(dim=0), best * DIM + channel

    def _pair(self, whole: Tensor) -> _Best:
        size = whole.abs()
        sums = size.index_select(0, self.pairs[:, 0]) + size.index_select(0, self.pairs[:, 1])
        best = first_max(sums)
        minus = (whole.gather(0, self.pairs[best].T) < 0).long()
        return 4 * sums.amax(dim=0), best * 4 + minus[0] + 2 * minus[1]

    def _octad_signs(self) -> Tensor:
        """Return all signs with an even number of minuses, `128 8`, ordered by those of the first 7 channels."""
        first = self._signs(torch.arange(SIGNS_OF_OCTAD, device=self.octads.device), 7)
        return torch.cat([first, first.prod(dim=1, keepdim=True)], dim=1)

    def _word_signs(self, words: CodeIndices) -> Tensor:
        return torch.cat([self._signs(words, HALF), self._signs(self.right[words], HALF)], dim=1)

    @staticmethod
    def _signs(bits: CodeIndices, count: int) -> Tensor:
        # No shift of bits, which ONNX has for unsigned integers alone.
        return 1 - 2 * (bits.unsqueeze(1) // 2 ** torch.arange(count, device=bits.device) % 2)


def golay_words() -> list[int]:
    """Return the 4,096 words of the extended Golay code, each as 24 bits; the lowest 12 are its index.

    See https://en.wikipedia.org/wiki/Binary_Golay_code.
    """
    # The generator (I | B), B the squares modulo 11 with a border of ones.
    rows = [sum(1 << column for column in range(11) if (row + column) % 11 in RESIDUES) | 1 << 11 for row in range(11)]
    rows.append((1 << 11) - 1)
    words = [0]
    for row, bits in enumerate(rows):
        words += [word ^ (bits << HALF | 1 << row) for word in words]
    return words
