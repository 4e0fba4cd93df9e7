"""detokenize-images: what it refuses, and one file below the folder for every key, whatever it is."""

import hashlib
import os

from samples import PHOTOS, image_bytes, noise_image
from vistok.inference.detokenize.paths import image_paths
from vistok.pretrained.find import DEFAULT_MODEL

PNG = image_bytes(noise_image(64, 64), "PNG")
ODD = [
    "../../etc/x",
    "/abs",
    "a//b",
    ".",
    "..",
    "",
    "a\0b",
    "x" * 400,
    "é" * 200 + "/" + "y" * 300,
    "CON",
    "a.png",
    "A.PNG",
    "a",
    "a.png/x",
    "A.PNG/x",
    "d/" * 2000 + "x",
]


def test_it_refuses_what_it_cannot_be_sure_of(tokenize, detokenize, tmp_path):
    out = tmp_path / "out"
    assert "does not exist: give token shards" in detokenize(out, "--out", tmp_path / "back", code=2)
    out.mkdir()
    assert "holds no token shards" in detokenize(out, "--out", tmp_path / "back", code=2)
    tokenize(PHOTOS, "--out", out)
    said = detokenize(out, "--out", tmp_path / "back", model=DEFAULT_MODEL, code=2)
    assert "makes others: give --model the tokenizer that made them." in said
    shard = out / "images-00000.tar"
    (out / "torn.tar").write_bytes(shard.read_bytes()[:3000])
    assert "torn.tar is not a whole token shard" in detokenize(out / "torn.tar", "--out", tmp_path / "back", code=1)
    (out / "manifest.json").unlink()
    assert "has no manifest.json" in detokenize(shard, "--out", tmp_path / "back", code=2)


def test_images_that_are_there_are_replaced_only_on_demand(tokenize, detokenize, tmp_path):
    mine = tmp_path / "w" / "b.png"
    mine.parent.mkdir()
    for name in ("a.png", "b.png"):
        mine.with_name(name).write_bytes(PNG)
    tokenize(mine.parent, "--out", tmp_path / "out")
    mine.with_name("a.png").unlink()
    said = detokenize(tmp_path / "out", "--out", mine.parent, code=2)
    assert f"{mine} is there already: give another --out folder, or --overwrite to replace it." in said
    assert mine.read_bytes() == PNG and not mine.with_name("a.png").exists()
    assert "2 images from 1 shard in" in detokenize(tmp_path / "out", "--out", mine.parent, "--overwrite")
    assert mine.read_bytes() != PNG


def test_two_shards_with_the_same_key_do_not_write_one_image(tokenize, detokenize, make_tar, tmp_path):
    shards = [make_tar(tmp_path / f"{name}.tar", [("k.png", PNG)]) for name in "ab"]
    tokenize(*shards, "--out", tmp_path / "out")
    assert "2 images from 2 shards" in detokenize(tmp_path / "out", "--out", tmp_path / "back")
    assert sorted(str(path.relative_to(tmp_path / "back")) for path in (tmp_path / "back").rglob("*.png")) == [
        "a/k.png",
        "b/k.png",
    ]


def test_names_lie_below_the_folder_and_fit_a_file_system(tmp_path):
    (names,) = image_paths([("s", ODD)])
    assert len({name.casefold() for name in names}) == len(ODD)
    for name in names:
        path = tmp_path / name
        assert os.path.normpath(path) == str(path) and path.is_relative_to(tmp_path) and path.suffix == ".png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_names_of_255_bytes_are_kept():
    whole, shortened = image_paths([("s", ["k" * 251, "k" * 252])])[0]
    assert whole == "k" * 251 + ".png"
    end = hashlib.sha256(b"k" * 252).hexdigest()[:12]
    assert shortened == "k" * 238 + f"-{end}.png" and len(shortened) == 255


def test_a_key_of_two_shards_is_told_apart_by_the_shard():
    assert image_paths([("a", ["k", "l"]), ("b", ["k", "m"])]) == [["a/k.png", "l.png"], ["b/k.png", "m.png"]]


def test_no_folder_has_the_name_of_a_file():
    assert image_paths([("s", ["a", "a.png/b", "a.PNG/c.png/d"])]) == [["a.png", "a.png_/b.png", "a.PNG_/c.png_/d.png"]]
