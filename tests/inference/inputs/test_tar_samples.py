"""Every member of a tar is in a sample, or counted with its kind."""

import io
import os
import tarfile

import pytest

from samples import image_bytes, noise_image
from vistok.images.tars.blocks import DamagedShard
from vistok.inference.inputs.companions import KEEP_ALL, parse_keep
from vistok.inference.inputs.tar_samples import TarSource

PNG = image_bytes(noise_image(8, 8), "PNG")


def listed(path, keep=KEEP_ALL):
    """A listing that has been iterated to its end."""
    listing = TarSource(str(path), "s", keep).list_samples()
    return listing._replace(samples=list(listing.samples))


def rows(listing):
    return [(sample.key, sample.source, sample.problem) for sample in listing.samples]


def kept(listing):
    return {sample.key: [companion.extension for companion in sample.companions] for sample in listing.samples}


def test_captions_and_metadata_belong_to_their_image(make_tar, tmp_path):
    members = [("k.jpg", PNG), ("k.txt", b"a cat"), ("k.json", b"{}"), ("k.seg.png", PNG), ("k.tokens.npy", b"mine")]
    path = str(make_tar(tmp_path / "s.tar", [*members, ("k.txt", b"again"), ("m.png", PNG), ("m.cls", b"3")]))
    listing = listed(path)
    assert kept(listing) == {"k": ["txt", "json", "seg.png"], "m": ["cls"]}
    assert [companion.entry.read() for companion in listing.samples[0].companions] == [b"a cat", b"{}", PNG]
    assert listing.passed_over == {".npy": 1, ".txt": 1}
    assert kept(listed(path, parse_keep("TXT,.cls"))) == {"k": ["txt"], "m": ["cls"]}
    none = listed(path, parse_keep("none"))
    assert kept(none) == {"k": [], "m": []} and none.passed_over == {
        ".npy": 1,
        ".txt": 2,
        ".json": 1,
        ".png": 1,
        ".cls": 1,
    }


def test_an_image_beside_an_image_is_a_row(make_tar, tmp_path):
    members = [(name, PNG) for name in ("k.jpg", "k.png", "v.left.jpg", "v.right.jpg")]
    assert rows(listed(make_tar(tmp_path / "s.tar", members))) == [
        ("k", "k.jpg", ""),
        ("k", "k.png", "k.png shares its key with k.jpg"),
        ("v", "v.left.jpg", ""),
        ("v", "v.right.jpg", "v.right.jpg shares its key with v.left.jpg"),
    ]


def test_keys_that_are_no_paths_below_a_folder_are_normalised_and_told_apart(make_tar, tmp_path):
    members = [(name, PNG) for name in ("../up.jpg", "/abs.jpg", "./dot.jpg", "a//b.jpg", "dot.jpg", "x/../up.jpg")]
    listing = listed(make_tar(tmp_path / "s.tar", members))
    assert [sample.key for sample in listing.samples] == ["up", "abs", "dot", "a/b", "dot_2", "up_2"]


def test_what_is_no_file_is_a_row_or_counted(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name, kind, target in (
            ("folder", tarfile.DIRTYPE, ""),
            ("fifo.jpg", tarfile.FIFOTYPE, ""),
            ("device", tarfile.CHRTYPE, ""),
            ("gone.png", tarfile.SYMTYPE, "nothing.png"),
            ("hard.png", tarfile.LNKTYPE, "k.png"),
            ("soft.png", tarfile.SYMTYPE, "./folder/../k.png"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            if name == "gone.png":
                image = tarfile.TarInfo("k.png")
                image.size = len(PNG)
                tar.addfile(image, io.BytesIO(PNG))
            tar.addfile(info)
    listing = listed(tmp_path / "s.tar")
    assert listing.passed_over == {"folder": 1}
    problems = {sample.source: sample.problem for sample in listing.samples}
    assert problems["fifo.jpg"] == "is a fifo, not a file" and problems["device"] == "is a device, not a file"
    assert "nothing.png" in problems["gone.png"] and problems["k.png"] == ""
    assert [s.entry.read() for s in listing.samples if s.source in ("hard.png", "soft.png")] == [PNG, PNG]


@pytest.mark.parametrize("text", ["", "a/b", "txt,", " ", "a b"])
def test_keep_takes_extensions(text):
    with pytest.raises(ValueError, match=r"--keep is .*, but must be all, none, or extensions such as txt,json."):
        parse_keep(text)


def test_many_images_of_one_key_are_listed_in_no_time(make_tar, tmp_path):
    names = [f"frame.{index}.png" for index in range(5000)]
    listing = listed(make_tar(tmp_path / "s.tar", [(name, b"") for name in names]))
    assert [sample.source for sample in listing.samples] == names


def test_what_has_no_key_takes_none_from_another(make_tar, tmp_path):
    members = [(name, PNG) for name in ("x/.jpg", "x.jpg", "y/._x.jpg")]
    assert rows(listed(make_tar(tmp_path / "s.tar", members))) == [
        ("x", "x/.jpg", "x/.jpg has nothing before its dot for a key"),
        ("x", "x.jpg", ""),
        ("y", "y/._x.jpg", "y/._x.jpg has nothing before its dot for a key"),
    ]


def test_files_of_a_sample_may_be_anywhere_in_the_tar(make_tar, tmp_path):
    """`tar cf s.tar folder` packs the files in the order of the disk."""
    members = [("a.txt", b"a"), ("b.jpg", PNG), ("c.txt", b"c"), ("a.jpg", PNG), ("b.txt", b"b"), ("a.txt", b"again")]
    listing = listed(make_tar(tmp_path / "s.tar", members))
    assert rows(listing) == [
        ("b", "b.jpg", ""),
        ("a", "a.jpg", ""),
        ("c", "c.txt", "the sample has no file with an image's ending"),
    ]
    assert [[each.entry.read() for each in sample.companions] for sample in listing.samples] == [[b"b"], [b"a"], []]
    assert listing.passed_over == {".txt": 1}


def test_a_tar_is_listed_while_its_first_images_are_read(make_tar, tmp_path):
    path = make_tar(tmp_path / "s.tar", [(f"{index}.png", PNG) for index in range(1000)])
    with open(path, "r+b") as file:
        file.seek(-(12 << 10), os.SEEK_END)  # a tar may end with 10 KB of zeros
        file.truncate()
    listing = TarSource(str(path), "s", KEEP_ALL).list_samples()
    samples = iter(listing.samples)
    first = [next(samples).key for _ in range(100)]
    assert first == [str(index) for index in range(100)] and 0.09 < listing.fraction() < 0.11
    with pytest.raises(DamagedShard, match="is cut off"):
        list(samples)
