"""Crops of images, resized and mirrored, and the cache of what they are cut from."""

import pickle

import numpy as np
import torch

from runs import data_config
from samples import noise_image
from vistok.train.data import crops as module
from vistok.train.data.crops import ImageCache, TrainingCrops


def test_crops_are_pieces_of_the_images_or_their_mirror_images(images):
    crops = TrainingCrops(data_config(images), seed=0)
    flipped = 0
    for position in range(30):
        crop = crops[position].pixels.numpy()
        image = np.asarray(noise_image(40 + crops.order.at(position).image, 36, crops.order.at(position).image))
        windows = np.lib.stride_tricks.sliding_window_view(image, (32, 32, 3))[:, :, 0]
        straight = (windows == crop).all(axis=(2, 3, 4)).any()
        mirrored = (windows == crop[:, ::-1]).all(axis=(2, 3, 4)).any()
        assert straight or mirrored
        flipped += bool(mirrored)
    assert 5 < flipped < 25


def test_short_sides_resize_before_cropping_and_small_images_grow(images):
    for sides in ([32], [64], [8]):
        crops = TrainingCrops(data_config([{"path": images, "short_sides": sides}]), seed=0)
        assert crops[0].pixels.shape == (32, 32, 3)


def test_short_sides_of_the_data_are_those_of_sources_without_their_own(images):
    def crops(source, **data):
        return [crop.pixels for crop in map(TrainingCrops(data_config([source], **data), 0).__getitem__, range(4))]

    own = crops({"path": images, "short_sides": [40, 64]})
    assert all(map(torch.equal, own, crops({"path": images}, short_sides=[40, 64])))
    assert all(map(torch.equal, own, crops({"path": images, "short_sides": [40, 64]}, short_sides=[500])))
    assert not all(map(torch.equal, own, crops({"path": images})))


def test_crops_can_be_handed_to_a_worker_that_is_spawned(images):
    crops = TrainingCrops(data_config(images), seed=0)
    assert torch.equal(pickle.loads(pickle.dumps(crops))[3].pixels, crops[3].pixels)


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
