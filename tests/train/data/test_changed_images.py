"""Images that changed between two calls of a run are named in a warning."""

import os
import tarfile

import pytest

from runs import QUANTIZERS, config, new_process
from samples import noise_image
from vistok.train.data.changed_images import record_images
from vistok.train.data.config import SourceConfig
from vistok.train.data.source_images import SourceImages
from vistok.train.loop import train


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        noise_image(48, 48, seed=number).save(folder / f"{number}.png")
    return folder


def record(folder, *paths):
    entries = [entry for path in paths for entry in SourceImages().of(SourceConfig(path=str(path)))]
    return record_images(folder / "images.pt", entries)


def test_what_did_not_change_is_not_said(photos, tmp_path, monkeypatch):
    assert record(tmp_path, photos) == record(tmp_path, photos) == []
    monkeypatch.chdir(tmp_path)
    assert record(tmp_path, "photos") == record(tmp_path, "./photos") == []


def test_each_kind_of_change_is_counted_and_said_once(photos, tmp_path):
    record(tmp_path, photos)
    for number in (10, 11):
        noise_image(48, 48, seed=number).save(photos / f"{number}.png")
    (photos / "0.png").unlink()
    content = (photos / "1.png").read_bytes()
    os.utime(photos / "1.png", ns=(1, 1))  # of the same size, another time
    (warning,) = record(tmp_path, photos)
    assert (photos / "1.png").read_bytes() == content
    assert "2 images more, 1 image fewer, 1 image changed. The run goes on with the current images." in warning
    assert record(tmp_path, photos) == []


def test_another_order_is_a_change(photos, tmp_path):
    record(tmp_path, photos / "1.png", photos / "2.png")
    (warning,) = record(tmp_path, photos / "2.png", photos / "1.png")
    assert "they come in another order" in warning


def test_members_of_a_shard_are_told_apart(photos, tmp_path):
    def pack(names):
        with tarfile.open(tmp_path / "s.tar", "w") as tar:
            for name in names:
                tar.add(photos / name, name)

    pack(["0.png", "1.png"])
    record(tmp_path, tmp_path / "s.tar")
    pack(["0.png", "1.png", "2.png"])
    (warning,) = record(tmp_path, tmp_path / "s.tar")
    assert "1 image more, 2 images changed" in warning


@pytest.mark.parametrize("content", [b"", b"junk" * 9])
def test_a_damaged_record_is_said_and_written_anew(photos, tmp_path, content):
    (tmp_path / "images.pt").write_bytes(content)
    (warning,) = record(tmp_path, photos)
    assert "images.pt was damaged, so changes to the images since the last call are unknown" in warning
    assert record(tmp_path, photos) == []


def test_a_run_says_it_and_goes_on(photos, tmp_path, capsys):
    values = [f"data.train={photos}", "data.val=[]", *QUANTIZERS["fsq"]]
    train(config(tmp_path / "run", *values, steps=2))
    for number in range(12):
        noise_image(48, 48, seed=number).save(photos / f"new-{number}.png")
    capsys.readouterr()
    new_process()
    train(config(tmp_path / "run", *values, steps=4))
    assert "the images are not those that the run began with: 12 images more." in capsys.readouterr().out
