"""Which image comes at which position: sources by weight, images shuffled every epoch."""

import numpy as np

from vistok.train.data.sampling_order import BLOCK, SamplingOrder


def test_weights_hold_exactly_over_a_block():
    order = SamplingOrder([50, 80], [3, 1], seed=0)
    sources = [order.at(position).source for position in range(2 * BLOCK)]
    assert np.bincount(sources).tolist() == [2 * BLOCK * 3 // 4, 2 * BLOCK // 4]


def test_every_image_once_an_epoch_in_a_new_order():
    order = SamplingOrder([50, 80], [3, 1], seed=0)
    seen = [draw.image for draw in map(order.at, range(3 * BLOCK)) if draw.source == 1]
    epochs = [seen[start : start + 80] for start in range(0, len(seen) - 79, 80)]
    assert len(epochs) > 20
    assert all(sorted(epoch) == list(range(80)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_a_draw_is_a_pure_function_of_seed_and_position():
    forward, backward = SamplingOrder([9, 4], [1, 2], seed=3), SamplingOrder([9, 4], [1, 2], seed=3)
    positions = list(range(0, 20_000, 117))
    assert [forward.at(p) for p in positions] == [backward.at(p) for p in reversed(positions)][::-1]
    assert [SamplingOrder([9, 4], [1, 2], seed=4).at(p) for p in positions] != [forward.at(p) for p in positions]
