"""A cache of images is bounded in number and in bytes."""

import numpy as np

from vistok.train.data import image_cache as module
from vistok.train.data.image_cache import ImageCache


def ask(cache, keys, size=10):
    read = []
    for key in keys:
        cache.get(key, lambda key=key: read.append(key) or np.zeros(size, np.uint8))
    return read


def test_the_last_ones_are_kept():
    cache = ImageCache(2)
    assert ask(cache, [1, 2, 1, 3, 1, 2]) == [1, 2, 3, 2]
    assert ask(ImageCache(0), [1, 1]) == [1, 1]


def test_bytes_bound_it_too(monkeypatch):
    monkeypatch.setattr(module, "CACHE_BYTES", 35)
    cache = ImageCache(5000)
    assert ask(cache, [1, 2, 3, 4, 2, 1]) == [1, 2, 3, 4, 1]
    assert ask(cache, [9, 9], size=36) == [9, 9]  # larger than all of it
    assert cache._bytes == 0
