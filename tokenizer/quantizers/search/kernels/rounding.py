"""The largest error of a score that is a sum of products of bfloat16 parts.

A float32 value is high + low + rest, where high and low are bfloat16, which keeps 8 bits: |low| <= 2^-8 |value|,
|rest| <= 2^-16 |value|. The score has high high, high low and low high; it lacks low low and the products with a rest:
together no more than 3.02 * 2^-16 |z_i c_i| of a channel, and over the channels of |z| |c| (Cauchy and Schwarz).

Products of bfloat16 are exact. Tensor cores add some of them and the sum so far at a time: they align all to the largest
exponent, cut what lies below its 24 bits, and cut the sum to float32 (Fasi et al. 2021, doi 10.7717/peerj-cs.330, for V100 and
A100; Khattak and Mikaitis, arXiv 2512.07004, to B200). V100 adds 4 at a time with no extra bits; later ones add 8 or 16 with
one or two. We assume the worst of each: each product, and the sum twice for 4 products, is cut by 2^-23 of the largest term.
No term is above |z| |c|, and while the products with a low part are added, which come first, none above 2^-7 |z| |c|. Where
all channels are one block, the sum begins with the offset, and the largest term may be that.
"""

from typing import NamedTuple

from .blocks import PARTS, block_of, width_of

SPLIT = 3.02 * 2**-16
CUT = 2**-23
HALF_ULP = 2**-24
SMALLEST_NORMAL = 2**-126


class Factors(NamedTuple):
    """The bound is `products * |z| r + scores * s + absolute * (1 + |z| + r)`.

    r is the max length of the codes that matter; s = |z| r for dot products and r (|z| + r) for distances.
    """

    products: float
    """For what is true of the products alone."""
    scores: float
    """For centring, offsets and their addition, as in a search in float32."""
    absolute: float
    """For what lies below the smallest normal number, where a rounding is no longer relative."""


def factors(dim: int) -> Factors:
    """Return the factors for vectors of `dim` channels, whose lengths are themselves rounded."""
    lengths = 1 + 2**-22 * (dim + 16)
    split, others = SPLIT, (dim + 8) * HALF_ULP
    if block_of(width_of(dim)) == width_of(dim):
        others += (1.5 * PARTS * dim + 8) * CUT
    else:
        split += (1.5 * dim + 8) * (1 + 2**-5) * CUT
    return Factors(lengths * split, lengths * others, (4 * dim + 16) * SMALLEST_NORMAL)
