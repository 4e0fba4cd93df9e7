"""The extended binary Golay code (https://en.wikipedia.org/wiki/Binary_Golay_code)."""

HALF = 12
WORDS = 1 << HALF
RESIDUES = (0, 1, 3, 4, 5, 9)
"""0 and the squares modulo 11."""


def golay_words() -> list[int]:
    """Return the 4,096 words of the extended Golay code, each as 24 bits; the lowest 12 are its index."""
    # The generator (I | B), B the squares modulo 11 with a border of ones.
    rows = [sum(1 << column for column in range(11) if (row + column) % 11 in RESIDUES) | 1 << 11 for row in range(11)]
    rows.append((1 << 11) - 1)
    words = [0]
    for row, bits in enumerate(rows):
        words += [word ^ (bits << HALF | 1 << row) for word in words]
    return words
