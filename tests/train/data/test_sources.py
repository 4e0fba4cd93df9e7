import os
import pickle

import numpy as np
import pytest
import torch

from samples import PHOTOS, noise_image
from vistok.tokenizer.config import parse_config
from vistok.train.data.batches import training_batches
from vistok.train.data.crops import TrainingCrops
from vistok.train.data.mixture import BLOCK, Mixture
from vistok.train.data.sources import DataConfig


@pytest.fixture
def images(tmp_path):
    for number in range(7):
        noise_image(40 + number, 36, seed=number).save(tmp_path / f"{number}.png")
    return str(tmp_path)


def config(images, **more):
    return parse_config(DataConfig, {"train": images, "size": 32, "batch_size": 4, "workers": 0, **more})


def test_shares_hold_exactly_over_a_block():
    mixture = Mixture([50, 80], [3, 1], seed=0)
    sources = [mixture.place(position).source for position in range(2 * BLOCK)]
    assert np.bincount(sources).tolist() == [2 * BLOCK * 3 // 4, 2 * BLOCK // 4]


def test_every_image_once_an_epoch_in_a_new_order():
    mixture = Mixture([50, 80], [3, 1], seed=0)
    seen = [place.image for place in map(mixture.place, range(3 * BLOCK)) if place.source == 1]
    epochs = [seen[start : start + 80] for start in range(0, len(seen) - 79, 80)]
    assert len(epochs) > 20
    assert all(sorted(epoch) == list(range(80)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_a_place_is_a_pure_function_of_seed_and_position():
    forward, backward = Mixture([9, 4], [1, 2], seed=3), Mixture([9, 4], [1, 2], seed=3)
    positions = list(range(0, 20_000, 117))
    assert [forward.place(p) for p in positions] == [backward.place(p) for p in reversed(positions)][::-1]
    assert [Mixture([9, 4], [1, 2], seed=4).place(p) for p in positions] != [forward.place(p) for p in positions]


def batches(config, start=0, steps=6, rank=0, world=1):
    return [batch.crops for batch in training_batches(TrainingCrops(config, 5), start, steps, rank, world)]


def test_a_run_that_is_taken_up_sees_what_it_would_have_seen(images):
    whole = batches(config(images))
    late = batches(config(images), start=4)
    assert len(late) == 2 and all(torch.equal(a, b) for a, b in zip(whole[4:], late, strict=True))


def test_processes_share_the_batch_of_one(images):
    whole = batches(config(images))
    halves = [batches(config(images), rank=rank, world=2) for rank in range(2)]
    for one, *parts in zip(whole, *halves, strict=True):
        assert torch.equal(one, torch.cat(parts))


def test_worker_processes_change_nothing(images):
    assert all(
        torch.equal(a, b) for a, b in zip(batches(config(images)), batches(config(images, workers=2)), strict=True)
    )


def test_crops_are_pieces_of_the_images_or_their_mirror_images(images):
    crops = TrainingCrops(config(images), seed=0)
    flipped = 0
    for position in range(30):
        crop = crops[position].pixels.numpy()
        image = np.asarray(
            noise_image(40 + crops.mixture.place(position).image, 36, crops.mixture.place(position).image)
        )
        windows = np.lib.stride_tricks.sliding_window_view(image, (32, 32, 3))[:, :, 0]
        straight = (windows == crop).all(axis=(2, 3, 4)).any()
        mirrored = (windows == crop[:, ::-1]).all(axis=(2, 3, 4)).any()
        assert straight or mirrored
        flipped += bool(mirrored)
    assert 5 < flipped < 25


def test_short_sides_resize_before_cropping_and_small_images_grow(images):
    for sides in ([32], [64], [8]):
        crops = TrainingCrops(config(images, train=[{"path": images, "short_sides": sides}]), seed=0)
        assert crops[0].pixels.shape == (32, 32, 3)


def test_a_batch_that_cannot_be_shared_out_is_refused(images):
    with pytest.raises(
        ValueError,
        match="data.batch_size is 4, but must be a multiple of the processes times run.gradient_accumulation, 3 x 1",
    ):
        batches(config(images), world=3)


def test_only_images_of_the_asked_names_are_drawn():
    source = {"path": str(PHOTOS), "names": "c.*"}
    crops = TrainingCrops(DataConfig.model_validate({"train": [source], "size": 32}), seed=0)
    assert {entry.name.rsplit("/")[-1] for entry in crops.sources[0]} == {"chelsea.png", "coffee.jpg"}
    with pytest.raises(ValueError, match=r"no image of .* has a name that matches 'dog.*', the first is"):
        TrainingCrops(DataConfig.model_validate({"train": [{**source, "names": "dog.*"}]}), seed=0)


def test_crops_can_be_handed_to_a_worker_that_is_spawned(images):
    crops = TrainingCrops(config(images), seed=0)
    assert torch.equal(pickle.loads(pickle.dumps(crops))[3].pixels, crops[3].pixels)


def test_paths_of_one_source_are_one_collection(images, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    noise_image(40, 36, seed=99).save(other / "alone.png")
    paths = [images, str(other), str(other / "alone.png")]
    crops = TrainingCrops(config(images, train=[{"path": paths}]), seed=0)
    assert len(crops.sources) == 1 and len(crops.sources[0]) == 8


def test_the_split_does_not_depend_on_how_a_path_is_written(images, monkeypatch):
    parent, name = images.rsplit("/", 1)
    monkeypatch.chdir(parent)
    spellings = [images, name, f"./{name}"]

    def names(path, share):
        source = {"path": path, "share": share}
        return {os.path.basename(entry.name) for entry in TrainingCrops(config(images, train=[source]), 0).sources[0]}

    held = [names(spelling, [0, 0.4]) for spelling in spellings]
    assert held[0] == held[1] == held[2] and len(held[0]) == 3
    assert names(spellings, [0, 0.4]) == held[0] and not held[0] & names(spellings, [0.4, 1])


def test_short_sides_of_the_data_are_those_of_sources_without_their_own(images):
    def crops(source, **data):
        return [
            crop.pixels for crop in map(TrainingCrops(config(images, train=[source], **data), 0).__getitem__, range(4))
        ]

    own = crops({"path": images, "short_sides": [40, 64]})
    assert all(map(torch.equal, own, crops({"path": images}, short_sides=[40, 64])))
    assert all(map(torch.equal, own, crops({"path": images, "short_sides": [40, 64]}, short_sides=[500])))
    assert not all(map(torch.equal, own, crops({"path": images})))
