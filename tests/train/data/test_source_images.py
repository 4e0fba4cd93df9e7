"""Images are listed once, each once, with few questions to the file system, and drawn over all sources."""

import os
import tarfile
from collections import Counter
from io import BytesIO

import pytest

from samples import PHOTOS, image_bytes, noise_image
from vistok.images.file_entry import Entry
from vistok.inference.inputs.companions import KEEP_ALL
from vistok.inference.inputs.plan import plan_shards
from vistok.inference.inputs.tar_samples import TarSource
from vistok.train.data import source_images as module
from vistok.train.data.changed_images import digests_of
from vistok.train.data.config import SourceConfig
from vistok.train.data.source_images import SourceImages

CONTENT = image_bytes(noise_image(8, 8), "PNG")
CALLS = ("stat", "lstat", "readlink", "open", "scandir", "listdir", "access")


def shard(path, members):
    with tarfile.open(path, "w") as tar:
        for number in range(members):
            header = tarfile.TarInfo(f"{number:05d}.png")
            header.size = len(CONTENT)
            tar.addfile(header, BytesIO(CONTENT))
    return str(path)


def listed(*paths, **source):
    return SourceImages().of(SourceConfig(path=[str(path) for path in paths], **source))


@pytest.fixture
def calls(monkeypatch):
    """Counts what the file system is asked."""
    counted = Counter()

    def count(name, function):
        def call(*arguments, **settings):
            counted[name] += 1
            return function(*arguments, **settings)

        monkeypatch.setattr(os, name, call)

    for name in CALLS:
        count(name, getattr(os, name))
    return counted


def asked(calls, work):
    calls.clear()
    work()
    return Counter(calls)


def test_members_of_a_shard_cost_no_system_call(tmp_path, calls):
    few, many = shard(tmp_path / "few.tar", 2), shard(tmp_path / "many.tar", 400)
    works = [
        lambda path: listed(path),
        lambda path: digests_of(listed(path, split=(0.0, 0.5))),  # no longer in the order of the shard
        lambda path: plan_shards([path], 10),
        lambda path: TarSource(path, "s", KEEP_ALL).list_samples(),
    ]
    for work in works:
        assert asked(calls, lambda work=work: work(many)) == asked(calls, lambda work=work: work(few))


def test_each_more_shard_costs_the_same_few(tmp_path, calls):
    shards = [shard(tmp_path / f"{number}.tar", 5) for number in range(40)]

    def total(count):
        return asked(calls, lambda: digests_of(listed(*shards[:count], split=(0.0, 0.9)))).total()

    first, second, third = total(10), total(20), total(40)
    assert third - second == 2 * (second - first)
    assert second - first <= 10 * 12


@pytest.mark.parametrize("depth", [1, 9])
def test_files_of_a_folder_cost_three_however_deep_they_lie(tmp_path, calls, depth):
    folder = tmp_path.joinpath(*"abcdefghi"[:depth])
    folder.mkdir(parents=True)
    (folder / "0.png").write_bytes(CONTENT)
    one = asked(calls, lambda: digests_of(listed(tmp_path))).total()
    for number in range(1, 51):
        (folder / f"{number}.png").write_bytes(CONTENT)
    assert asked(calls, lambda: digests_of(listed(tmp_path))).total() - one == 50 * 3


def test_loose_images_of_a_call_cost_few_however_deep_they_lie(tmp_path, calls):
    folder = tmp_path.joinpath(*"abcdefghi")
    folder.mkdir(parents=True)
    counts = []
    for number in range(61):
        (folder / f"{number}.png").write_bytes(CONTENT)
        if number in (20, 60):
            counts.append(asked(calls, lambda: plan_shards([str(tmp_path)], 1000)).total())
    assert counts[1] - counts[0] <= 40 * 3


def test_a_file_is_one_image_whatever_leads_to_it(tmp_path, monkeypatch):
    """By os.path.realpath, the definition."""
    folder, link = tmp_path / "photos", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    for number in range(3):
        (folder / f"{number}.png").write_bytes(CONTENT)
    (folder / "again.png").symlink_to("0.png")
    tar = shard(tmp_path / "s.tar", 4)
    (tmp_path / "t.tar").symlink_to(tar)
    monkeypatch.chdir(tmp_path)
    paths = ["photos", str(link), "photos/../photos/1.png", "./photos//2.png", tar, "t.tar", "./s.tar"]
    found = listed(*paths)
    real = {(os.path.realpath(entry.path), entry.offset) for entry in found}
    assert len(found) == len(real) == 3 + 4


def test_a_listing_walks_each_path_once_and_its_parts_are_of_one_moment(tmp_path, monkeypatch):
    for number in range(10):
        (tmp_path / f"{number}.png").write_bytes(CONTENT)
    walked = []
    index = module.index_images
    monkeypatch.setattr(module, "index_images", lambda path: walked.append(path) or index(path))
    listing = SourceImages()
    whole = listing.of(SourceConfig(path=[str(tmp_path)]))
    (tmp_path / "late.png").write_bytes(CONTENT)
    parts = [listing.of(SourceConfig(path=[str(tmp_path)], split=split)) for split in ((0, 0.3), (0.3, 1))]
    assert sorted(entry.name for part in parts for entry in part) == [entry.name for entry in whole]
    with_another = listing.of(SourceConfig(path=[str(tmp_path), str(tmp_path / "late.png")]))
    assert len(with_another) == 11 and walked == [str(tmp_path), str(tmp_path / "late.png")]


def test_of_many_shards_each_path_is_looked_at_once(monkeypatch):
    entries = [
        Entry(f"/none/{s:05d}.tar", 512 * (i + 1), 9, f"{s:05d}-{i}.jpg") for s in range(200) for i in range(100)
    ]
    monkeypatch.setattr(module, "index_images", lambda path: entries)
    counted = Counter()
    monkeypatch.setattr(module.os.path, "islink", lambda path: counted.update([path]) or False)
    found = listed("x", split=(0.0, 0.5))
    assert len(found) == 10_000 and set(counted.values()) == {1}
    digests = digests_of(found)
    assert digests.nbytes == 16 * len(found)


def test_only_images_of_the_asked_names_are_listed():
    found = listed(PHOTOS, names="c.*")
    assert {os.path.basename(entry.name) for entry in found} == {"chelsea.png", "coffee.jpg"}
    with pytest.raises(ValueError, match=r"no image of .* has a name that matches 'dog.*', the first is"):
        listed(PHOTOS, names="dog.*")


def test_paths_of_one_source_are_one_collection(images, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    noise_image(40, 36, seed=99).save(other / "alone.png")
    assert len(listed(images, other, other / "alone.png")) == 8


def test_a_split_does_not_depend_on_how_a_path_is_written(images, monkeypatch):
    parent, name = os.path.split(images)
    monkeypatch.chdir(parent)
    spellings = [images, name, f"./{name}"]

    def names(*paths, split):
        return {os.path.basename(entry.name) for entry in listed(*paths, split=split)}

    held_out = [names(spelling, split=(0, 0.4)) for spelling in spellings]
    assert held_out[0] == held_out[1] == held_out[2] and len(held_out[0]) == 3
    assert names(*spellings, split=(0, 0.4)) == held_out[0] and not held_out[0] & names(*spellings, split=(0.4, 1))


def test_a_split_without_an_image_is_refused(images):
    with pytest.raises(ValueError, match=r"split is \[0.0, 0.01\], which leaves none of the 7 images of .*: widen it"):
        listed(images, split=(0, 0.01))
