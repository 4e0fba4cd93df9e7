"""Images behind URLs become the shards that the same files give, from a store that fails, or not at all."""

import json
import re

import pytest

from flaky_filesystem import FlakyFileSystem
from samples import image_bytes, noise_image
from vistok.tokenizer import retries


@pytest.fixture
def photos(tmp_path, make_tar, monkeypatch):
    """Images and tars in a folder, and behind flaky://."""
    monkeypatch.setattr(retries, "FIRST_WAIT", 1e-4)
    FlakyFileSystem.reset()
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(3):
        (folder / f"{index}.png").write_bytes(image_bytes(noise_image(32, 32, index), "PNG"))
    for index in range(8):
        images = [(f"{each}.png", image_bytes(noise_image(32, 32, 10 * index + each), "PNG")) for each in range(5)]
        captions = [(f"{each}.txt", b"a caption") for each in range(5)]
        make_tar(folder / f"s-{index}.tar", sorted([*images, *captions, ("broken.png", b"no image")]))
    for path in folder.iterdir():
        FlakyFileSystem().pipe_file(f"/photos/{path.name}", path.read_bytes())
    yield folder
    FlakyFileSystem.reset()


def shards(out):
    """The bytes of the shards, and what their sidecars say but for the state of the inputs."""
    said = {
        path.name: json.loads(path.read_bytes()) | {"inputs": ""}
        for path in out.glob("*.json")
        if path.name != "manifest.json"
    }
    return {path.name: path.read_bytes() for path in out.glob("*.tar")}, said


def test_a_store_that_fails_now_and_then_loses_nothing(tokenize, photos, tmp_path):
    tokenize(photos, "--out", tmp_path / "local")
    FlakyFileSystem.fraction = 0.25  # of few calls; a request fails for good with 8 in a row
    tokenize("flaky://photos", "--out", tmp_path / "remote")
    assert FlakyFileSystem.faults > 0
    assert shards(tmp_path / "remote") == shards(tmp_path / "local") and len(shards(tmp_path / "local")[0]) == 9
    assert "0 written, 9 done before" in tokenize("flaky://photos", "--out", tmp_path / "remote")


def test_a_store_that_vanishes_leaves_shards_unsealed_and_named(tokenize, photos, tmp_path, monkeypatch):
    out, read = tmp_path / "out", FlakyFileSystem.cat_file

    def gone_for_one(self, path, start=None, end=None, **kwargs):
        if "s-1" in path:
            raise ConnectionResetError(104, "Connection reset by peer")
        return read(self, path, start, end)

    monkeypatch.setattr(FlakyFileSystem, "cat_file", gone_for_one)
    said = re.sub(r"in \d+ s", "in N s", tokenize("flaky://photos", "--out", out, code=1))
    assert "not read: s-1 cannot be read (failed 8 times in N s, the last time with: Connection reset by peer)" in said
    assert sorted(path.name for path in out.glob("*.tar")) == [
        "images-00000.tar",
        *(f"s-{index}.tar" for index in (0, *range(2, 8))),
    ]
    monkeypatch.setattr(FlakyFileSystem, "cat_file", read)
    assert "1 written, 8 done before" in tokenize("flaky://photos", "--out", out)
    tokenize(photos, "--out", tmp_path / "local")
    assert shards(out) == shards(tmp_path / "local")


def test_an_object_that_changes_while_it_is_read_is_refused(tokenize, photos, tmp_path, monkeypatch):
    out, read = tmp_path / "out", FlakyFileSystem.cat_file

    def changing(self, path, start=None, end=None, **kwargs):
        content = read(self, path, start, end)
        self.pipe_file(path, bytes(self.store[self._strip_protocol(path)].getvalue()))
        return content

    monkeypatch.setattr(FlakyFileSystem, "cat_file", changing)
    said = tokenize("flaky://photos/s-0.tar", "flaky://photos/1.png", "--out", out, code=1)
    assert "not read: s-0: its input changed while it was read" in said
    assert "not read: images-00000: its input changed while it was read" in said
    assert not list(out.glob("*.tar"))


@pytest.mark.parametrize("given", ["flaky://photos/list.txt", "flaky://photos/*.png", "flaky://photos", "list.txt"])
def test_a_store_that_does_not_answer_is_failed_work(tokenize, photos, tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("flaky://photos/1.png\n")
    FlakyFileSystem.is_gone = True
    said = re.sub(r"in \d+ s", "in N s", tokenize(given, "--out", tmp_path / "out", code=1))
    assert said.startswith(
        "tokenize-images: failed 8 times in N s, the last time with: Connection refused (flaky://photos"
    )
    assert said.endswith("): run the same command again when it answers.\n") and not (tmp_path / "out").exists()
