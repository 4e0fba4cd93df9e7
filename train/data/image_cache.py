"""Images that are kept in memory because they will be asked for again."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np

CACHE_BYTES = 4 << 30
"""Bytes (4 GiB) of images that one process keeps, however many it may: photographs of a camera would fill any memory."""


class ImageCache:
    """Keeps the images that were asked for last, up to a number and to CACHE_BYTES."""

    def __init__(self, most: int):
        self._most = most
        self._kept: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable, read: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the image of a key; `read` is called unless it is kept, and what it raises passes through."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        image = read()
        self._kept[key] = image
        self._bytes += image.nbytes
        while self._kept and (len(self._kept) > self._most or self._bytes > CACHE_BYTES):
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return image
