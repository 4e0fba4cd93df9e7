"""The order of a stream, as numbers: permutations, parts without remainder, a buffer that can be entered anywhere."""

from itertools import chain

import numpy as np
import pytest

from vistok.inference.token_dataset.order import BufferedOrder, ShardOrder, draws, part, permutation
from vistok.inference.token_dataset.place import batches_of


def test_permutations_are_pinned_and_differ_by_what_they_are_for():
    assert permutation(8, "shards", 0, 0).tolist() == [7, 6, 5, 3, 0, 1, 2, 4]
    orders = [tuple(permutation(50, *what)) for what in (("a", 0), ("a", 1), ("b", 0))]
    assert len(set(orders)) == 3 and all(sorted(order) == list(range(50)) for order in orders)


@pytest.mark.parametrize("count", [0, 1, 5, 12, 13])
def test_parts_follow_one_another_and_the_longer_come_first(count):
    whole = range(3, 3 + count)
    for parts in range(1, 7):
        found = [part(whole, index, parts) for index in range(parts)]
        assert list(chain(*found)) == list(whole)
        lengths = list(map(len, found))
        assert lengths == sorted(lengths, reverse=True) and max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("size", [0, 1, 2, 7, 40, 100])
def test_a_buffer_gives_each_position_once_and_none_before_it_entered(size):
    order = list(BufferedOrder(40, size, draws("x", size)))
    assert sorted(order) == list(range(40))
    assert all(position < index + max(1, size) for index, position in enumerate(order))
    assert (order == list(range(40))) == (size < 2)
    assert list(BufferedOrder(0, size, draws("x"))) == []


def test_a_buffer_that_is_entered_in_the_middle_knows_what_is_to_come():
    whole = list(BufferedOrder(30, 6, draws("y")))
    for taken in range(31):
        order = BufferedOrder(30, 6, draws("y"))
        order.skip(taken)
        is_missing = order.missing()
        assert [position for position in range(30) if is_missing(position)] == sorted(whole[taken:])
        assert order.first_missing() == min(whole[taken:], default=30)
        assert list(order) == whole[taken:]


def test_a_full_buffer_shuffles_evenly():
    """Each position is the first one about as often as any other."""
    firsts = np.bincount([next(BufferedOrder(8, 8, draws(seed))) for seed in range(4000)], minlength=8)
    assert abs(firsts - 500).max() < 110  # five standard deviations


def test_segments_are_the_positions_and_begin_again_behind_the_last_row():
    rows, shards = np.array([3, 0, 2, 4]), np.array([2, 1, 3, 0])
    listed = [(shard, row) for shard in shards for row in range(rows[shard])]
    order = ShardOrder(rows, shards)
    for start in range(9):
        for stop in range(start, 13):
            found = [
                (segment.shard, row) for segment in order.segments(range(start, stop)) for row in range(*segment[1:])
            ]
            assert found == [listed[position % 9] for position in range(start, stop)]
    assert list(ShardOrder(np.array([0]), np.array([0])).segments(range(0))) == []


def test_workers_take_turns():
    for consumers in (1, 2, 3):
        for given in range(8):
            turns = [index % consumers for index in range(given)]
            assert [batches_of(given, each, consumers) for each in range(consumers)] == [
                turns.count(each) for each in range(consumers)
            ]
