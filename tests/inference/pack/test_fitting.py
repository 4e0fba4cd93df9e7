"""Documents in rows of a length."""

from itertools import permutations

import numpy as np
import pytest

from vistok.inference.pack.fitting import fit


def rows_needed(lengths, room):
    """The fewest rows, by trying every order."""
    fewest = len(lengths)
    for order in permutations(lengths):
        rows, left = 0, 0
        for length in order:
            if length > left:
                rows, left = rows + 1, room
            left -= length
        fewest = min(fewest, rows)
    return fewest


@pytest.mark.parametrize("seed", range(20))
def test_each_document_is_in_one_row_that_holds_it(seed):
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, 60, 200).tolist()
    rows = fit(lengths, 60)
    assert sorted(index for row in rows for index in row) == list(range(200))
    assert all(sum(lengths[index] for index in row) <= 60 for row in rows)
    assert rows == sorted(rows) and all(row == sorted(row) for row in rows)
    assert len(rows) <= 11 / 9 * sum(lengths) / 60 + 6 / 9 + 0.1 * len(rows)


@pytest.mark.parametrize("seed", range(8))
def test_few_documents_are_packed_nearly_as_well_as_can_be(seed):
    lengths = np.random.default_rng(seed).integers(1, 11, 7).tolist()
    assert (
        len(fit(lengths, 10)) <= 11 / 9 * rows_needed(lengths, 10) + 6 / 9
    )  # the bound of first and best fit decreasing


def test_equal_documents_stay_in_their_order():
    assert fit([4] * 6, 8) == [[0, 1], [2, 3], [4, 5]]
    assert fit([8, 3, 5, 8], 8) == [[0], [1, 2], [3]]
    assert fit([], 8) == []
