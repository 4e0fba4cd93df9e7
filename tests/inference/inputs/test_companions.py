"""What belongs to an image stays with its tokens, byte for byte."""

import errno
import json
import tarfile

import pytest

from samples import image_bytes, noise_image
from vistok.images.file_entry import Entry

PNG = image_bytes(noise_image(64, 64), "PNG")
CAPTION = "ein Käfer\n".encode() + b"\xff"


def members(shard):
    with tarfile.open(shard) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def test_members_of_a_sample_are_carried_over(tokenize, detokenize, make_tar, tmp_path):
    own = b'{"source": "mine", "n": 1}'
    shard = make_tar(tmp_path / "s.tar", [("x/k.jpg", PNG), ("x/k.txt", CAPTION), ("x/k.json", own), ("r.md", b"hi")])
    said = tokenize(shard, "--out", tmp_path / "out")
    found = members(tmp_path / "out" / "s.tar")
    assert list(found) == ["x/k.tokens.npy", "x/k.tokens.json", "x/k.txt", "x/k.json"]
    assert found["x/k.txt"] == CAPTION and found["x/k.json"] == own
    assert json.loads(found["x/k.tokens.json"])["source"] == "x/k.jpg"
    assert "failed: r.md: the sample has no file with an image's ending" in said
    assert "1 image from 1 shard" in detokenize(tmp_path / "out", "--out", tmp_path / "back")


@pytest.mark.parametrize(
    ("keep", "expected"),
    [("all", {"caption", "json", "txt"}), ("none", set()), ("psd", {"psd"}), ("txt,PSD", {"txt", "psd"})],
)
def test_loose_images_have_captions_beside_them(tokenize, tmp_path, keep, expected):
    folder = tmp_path / "w" / "sub"
    folder.mkdir(parents=True)
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(PNG)
    for extension in ("txt", "json", "caption", "psd", "npz"):
        (folder / f"a.{extension}").write_bytes(CAPTION)
    (folder / "alone.txt").write_bytes(CAPTION)
    for index, given in enumerate([tmp_path / "w", folder / "a.png"]):
        said = tokenize(given, "--out", tmp_path / f"out{index}", "--keep", keep)
        found = members(tmp_path / f"out{index}" / "images-00000.tar")
        key = "sub/a" if index == 0 else "a"
        assert {name for name, content in found.items() if content == CAPTION} == {f"{key}.{e}" for e in expected}
        if index == 0:
            assert (f"other files {6 - len(expected)} passed over" in said and "2 .txt" in said) or "txt" in expected


def test_the_files_of_a_folder_may_be_given_one_by_one(tokenize, tmp_path):
    folder = tmp_path / "w"
    folder.mkdir()
    for name, content in (
        ("a.png", PNG),
        ("a.txt", b"no list"),
        ("a.json", b"{}"),
        ("a.psd", b""),
        ("b.txt", b"w/a.png"),
    ):
        (folder / name).write_bytes(content)
    given = [path for path in sorted(folder.iterdir()) if path.name != "b.txt"]
    said = tokenize(*given, "--out", tmp_path / "out")
    assert "1 tokenized, 0 failed" in said and "other files 1 passed over: 1 .psd" in said
    assert list(members(tmp_path / "out" / "images-00000.tar"))[2:] == ["a.json", "a.txt"]
    said = tokenize(*given, folder / "b.txt", "--out", tmp_path / "out2")
    assert "1 tokenized, 1 failed" in said and "failed: a.png: does not exist" in said


def test_another_choice_is_refused(tokenize, tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    tokenize(tmp_path / "a.png", "--out", tmp_path / "out", "--keep", "txt,cls")
    said = tokenize(tmp_path / "a.png", "--out", tmp_path / "out", code=2)
    assert "was made with --keep cls,txt, not all: use another --out folder, or --overwrite." in said
    assert "0 written, 1 done" in tokenize(tmp_path / "a.png", "--out", tmp_path / "out", "--keep", "cls,txt")


def test_a_caption_that_cannot_be_read_leaves_its_shard_unsealed(tokenize, tmp_path, monkeypatch):
    for name, content in (("a.png", PNG), ("a.txt", CAPTION)):
        (tmp_path / name).write_bytes(content)
    read = Entry.read

    def failing(entry):
        if entry.name == "a.txt":
            raise OSError(errno.EIO, "broken disk")
        return read(entry)

    monkeypatch.setattr(Entry, "read", failing)
    said = tokenize(tmp_path / "a.png", "--out", tmp_path / "out", code=1)
    assert "not read: a.txt cannot be read (broken disk)" in said
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.json"]
