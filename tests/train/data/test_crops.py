"""Crops of images, resized and mirrored; the cache of those images; what replaces an unreadable one."""

import pickle
import tarfile

import numpy as np
import pytest
import torch

from runs import batches, data_config
from samples import noise_image
from vistok.tokenizer.errors import WorkFailedError
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
    expected = crops[3].pixels
    assert torch.equal(pickle.loads(pickle.dumps(crops))[3].pixels, expected)


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


def crops_of(folder, seed=5, **more):
    return TrainingCrops(data_config(folder, batch_size=8, **more), seed)


def test_a_replacement_depends_on_the_position_alone(one_broken):
    whole = batches(crops_of(one_broken), steps=12)
    assert sum(len(batch.unreadable) for batch in whole) > 0
    assert {message for batch in whole for message in batch.unreadable} == {
        next(message for batch in whole for message in batch.unreadable)
    }
    late = batches(crops_of(one_broken), steps=12, start=7)
    worked = batches(crops_of(one_broken, workers=2, cached_images=3), steps=12)
    parts = [batches(crops_of(one_broken), steps=12, rank=rank, world=2) for rank in range(2)]
    for step, (crops, unreadable) in enumerate(whole):
        assert torch.equal(worked[step].crops, crops) and worked[step].unreadable == unreadable
        halves = [part[step] for part in parts]
        assert torch.equal(torch.cat([half.crops for half in halves]), crops)
        assert halves[0].unreadable + halves[1].unreadable == unreadable
    for batch, again in zip(whole[7:], late, strict=True):
        assert torch.equal(batch.crops, again.crops)


def test_positions_of_good_images_are_what_they_were(one_broken):
    """The broken image is the last of 41."""
    crops = crops_of(one_broken)
    broken = [position for position in range(120) if crops.order.at(position).image == 40]
    with_replacements = [crops[position].pixels for position in range(120)]
    noise_image(48, 48, seed=40).save(one_broken / "99.jpg", "PNG")
    mended = crops_of(one_broken)
    differ = [p for p in range(120) if not torch.equal(with_replacements[p], mended[p].pixels)]
    assert broken and differ == broken


def test_a_replacement_comes_from_the_same_source(one_broken, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for number in range(3):
        noise_image(48, 48, seed=100 + number).save(other / f"{number}.png")
    (other / "3.png").write_bytes(b"")
    crops = crops_of([str(one_broken), str(other)])
    good = [np.asarray(noise_image(48, 48, seed=100 + number)) for number in range(3)]
    replaced = [p for p in range(200) if crops.order.at(p) == (1, 3)]
    assert len(replaced) > 3
    for position in replaced:
        crop, (said, *_) = crops[position]
        assert "3.png cannot be used (" in said
        windows = [np.lib.stride_tricks.sliding_window_view(image, (32, 32, 3))[:, :, 0] for image in good]
        seen = [crop.numpy(), crop.numpy()[:, ::-1]]
        assert any((window == view).all(axis=(2, 3, 4)).any() for window in windows for view in seen)


def test_a_missing_file_and_a_cut_shard_are_unreadable_images(tmp_path):
    noise_image(48, 48).save(tmp_path / "a.png")
    noise_image(48, 48).save(tmp_path / "b.png")
    with tarfile.open(tmp_path / "c.tar", "w") as tar:
        tar.add(tmp_path / "a.png", "in-a-tar.png")
    crops = crops_of([str(tmp_path / name) for name in ("a.png", "b.png", "c.tar")])
    (tmp_path / "b.png").unlink()
    (tmp_path / "c.tar").write_bytes((tmp_path / "c.tar").read_bytes()[:600])
    with pytest.raises(
        WorkFailedError, match=r"100 images of .*(b.png|c.tar) in a row cannot be read; the last: .*: check"
    ):
        [crops[position] for position in range(6)]


def test_a_process_without_files_left_does_not_blame_the_images(one_broken, monkeypatch):
    def refuse(*arguments, **settings):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("vistok.images.file_entry.Entry.open", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        batches(crops_of(one_broken), steps=12)


@pytest.mark.parametrize("workers", [0, 1])
def test_stop_ends_at_the_first_with_its_name(one_broken, workers):
    with pytest.raises(
        WorkFailedError, match=r"99.jpg cannot be used \(.*\): repair or remove it, or set .* to skip\."
    ) as error:
        batches(crops_of(one_broken, on_error="stop", workers=workers), steps=12)
    assert "\n" not in str(error.value)
