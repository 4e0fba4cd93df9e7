"""Every key gets a file of its own below the folder, whatever it is."""

import hashlib
import os

from vistok.inference.detokenize.image_paths import image_paths

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
