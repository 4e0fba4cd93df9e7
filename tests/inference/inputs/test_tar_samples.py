"""Every member of a tar is in a sample, or counted with its kind."""

import io
import tarfile

import pytest

from samples import image_bytes, noise_image
from vistok.inference.inputs.companions import KEEP_ALL, parse_keep
from vistok.inference.inputs.tar_samples import TarSource

PNG = image_bytes(noise_image(8, 8), "PNG")


def rows(listing):
    return [(sample.key, sample.source, sample.problem) for sample in listing.samples]


def kept(listing):
    return {sample.key: [companion.extension for companion in sample.companions] for sample in listing.samples}


def test_captions_and_metadata_belong_to_their_image(make_tar, tmp_path):
    members = [("k.jpg", PNG), ("k.txt", b"a cat"), ("k.json", b"{}"), ("k.seg.png", PNG), ("k.tokens.npy", b"mine")]
    path = str(make_tar(tmp_path / "s.tar", [*members, ("k.txt", b"again"), ("m.png", PNG), ("m.cls", b"3")]))
    listing = TarSource(path, "s", KEEP_ALL).list_samples()
    assert kept(listing) == {"k": ["txt", "json", "seg.png"], "m": ["cls"]}
    assert [companion.entry.read() for companion in listing.samples[0].companions] == [b"a cat", b"{}", PNG]
    assert listing.passed_over == {".npy": 1, ".txt": 1}
    assert kept(TarSource(path, "s", parse_keep("TXT,.cls")).list_samples()) == {"k": ["txt"], "m": ["cls"]}
    none = TarSource(path, "s", parse_keep("none")).list_samples()
    assert kept(none) == {"k": [], "m": []} and none.passed_over == {
        ".npy": 1,
        ".txt": 2,
        ".json": 1,
        ".png": 1,
        ".cls": 1,
    }


def test_an_image_beside_an_image_is_a_row(make_tar, tmp_path):
    members = [(name, PNG) for name in ("k.jpg", "k.png", "v.left.jpg", "v.right.jpg")]
    assert rows(TarSource(str(make_tar(tmp_path / "s.tar", members)), "s", KEEP_ALL).list_samples()) == [
        ("k", "k.jpg", ""),
        ("k", "k.png", "k.png shares its key with k.jpg"),
        ("v", "v.left.jpg", ""),
        ("v", "v.right.jpg", "v.right.jpg shares its key with v.left.jpg"),
    ]


def test_keys_that_are_no_paths_below_a_folder_are_normalised_and_told_apart(make_tar, tmp_path):
    members = [(name, PNG) for name in ("../up.jpg", "/abs.jpg", "./dot.jpg", "a//b.jpg", "dot.jpg", "x/../up.jpg")]
    listing = TarSource(str(make_tar(tmp_path / "s.tar", members)), "s", KEEP_ALL).list_samples()
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
    listing = TarSource(str(tmp_path / "s.tar"), "s", KEEP_ALL).list_samples()
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
    listing = TarSource(
        str(make_tar(tmp_path / "s.tar", [(name, b"") for name in names])), "s", KEEP_ALL
    ).list_samples()
    assert [sample.source for sample in listing.samples] == names


def test_what_has_no_key_takes_none_from_another(make_tar, tmp_path):
    members = [(name, PNG) for name in ("x/.jpg", "x.jpg", "y/._x.jpg")]
    assert rows(TarSource(str(make_tar(tmp_path / "s.tar", members)), "s", KEEP_ALL).list_samples()) == [
        ("x", "x/.jpg", "x/.jpg has nothing before its dot for a key"),
        ("x", "x.jpg", ""),
        ("y", "y/._x.jpg", "y/._x.jpg has nothing before its dot for a key"),
    ]
