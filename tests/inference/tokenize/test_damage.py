"""A damaged tar is never taken for a short one: it is named, and done once it has been repaired."""

import json
import tarfile

import pytest

from samples import image_bytes, noise_image, stored_samples


@pytest.fixture
def whole(make_tar, tmp_path):
    images = [(f"{index}.png", image_bytes(noise_image(40, 40, index), "PNG")) for index in range(6)]
    return make_tar(tmp_path / "whole.tar", images).read_bytes()


def start(whole, tmp_path, index):
    with tarfile.open(tmp_path / "whole.tar") as tar:
        return tar.getmembers()[index].offset


DAMAGE = {
    "broken header": lambda whole, at: whole[:at] + b"\xff" * 512 + whole[at + 512 :],
    "rest of zeros": lambda whole, at: whole[:at] + bytes(len(whole) - at),
    "lost blocks": lambda whole, at: whole[:at] + bytes(1024) + whole[at + 1024 :],
    "cut between files": lambda whole, at: whole[:at],
    "cut in a header": lambda whole, at: whole[: at + 200],
    "cut in a file": lambda whole, at: whole[: at + 700],
    "half an end mark": lambda whole, at: whole.rstrip(b"\0")[:-1] + bytes(-len(whole.rstrip(b"\0")) % 512 + 1 + 512),
    "two joined": lambda whole, at: whole + whole,
    "junk behind": lambda whole, at: whole + b"junk",
    "empty": lambda whole, at: b"",
    "no tar": lambda whole, at: b"no tar at all" * 100,
    "compressed": lambda whole, at: b"\x1f\x8b" + whole,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_tar_is_named_and_done_when_it_is_repaired(tokenize, whole, tmp_path, damage):
    shard, out = tmp_path / "s.tar", tmp_path / "out"
    shard.write_bytes(DAMAGE[damage](whole, start(whole, tmp_path, 2)))
    for _ in range(2):
        said = tokenize(shard, "--out", out, code=1)
        assert f"damaged: {shard} " in said and "0 written, 0 done before" in said
        assert "nothing was written for 1 damaged shard: repair it and run the same command again" in said
        assert [path.name for path in out.iterdir()] == ["manifest.json"]
    shard.write_bytes(whole)
    assert "6 tokenized, 0 failed" in tokenize(shard, "--out", out)
    assert [sample.key for sample in stored_samples(out / "s.tar")] == list("012345")
    assert json.loads((out / "manifest.json").read_text())["images"] == 6
