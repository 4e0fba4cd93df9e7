"""Members are files, folders, or say what else they are; links have the bytes of the file they lead to once unpacked."""

import os
import shutil
import subprocess
import tarfile

import pytest

from tars import END, FORMATS, contents, header, listed, problems, shard_entries, write_tar
from vistok.images.tars.blocks import DamagedShard
from vistok.images.tars.members import tar_members


def test_what_is_no_file_says_what_it_is(tmp_path):
    path = tmp_path / "s.tar"
    kinds = [b"3", b"4", b"6", b"V", b"M", b"Q", b"7", b"5", b"S"]
    minus_five = b"\xff" * 11 + b"\xfb"
    path.write_bytes(
        b"".join(header(b"%c.jpg" % kind, kind=kind) for kind in kinds) + header(b"minus.jpg", size=minus_five) + END
    )
    assert [(member.kind, member.problem, member.entry is not None) for member in tar_members(str(path))] == [
        ("device", "is a device, not a file", False),
        ("device", "is a device, not a file", False),
        ("fifo", "is a fifo, not a file", False),
        ("volume label", "is the label of a volume, not a file", False),
        ("part of a file", "is a part of a file that another volume begins", False),
        ("unknown", "is of the unknown type 'Q', not a file", False),
        ("file", "", True),
        ("folder", "", False),
        ("sparse file", "is a sparse file, whose holes are not in the shard: pack it without --sparse", False),
        ("file", "has a size of -5 bytes", False),
    ]
    path.write_bytes(header(size=b"\x80" + bytes(3) + b"\x10" + bytes(7)) + END)
    with pytest.raises(DamagedShard, match=r"is cut off within a.jpg, after 1024 of its 1152921504606846976 bytes"):
        shard_entries(path)


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs tar")
def test_what_tar_makes_of_a_folder(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"a")
    os.link(folder / "a.jpg", folder / "b.jpg")
    (folder / "c.jpg").symlink_to("a.jpg")
    (folder / ("x" * 150 + ".jpg")).write_bytes(b"x")
    subprocess.run(["tar", "-cf", tmp_path / "s.tar", "-C", folder, "."], check=True)
    found = {name: content for name, kind, content in listed(tmp_path / "s.tar") if kind != "folder"}
    assert found == {"./a.jpg": b"a", "./b.jpg": b"a", "./c.jpg": b"a", f"./{'x' * 150}.jpg": b"x"}


@pytest.mark.parametrize("form", FORMATS)
def test_links_have_the_bytes_of_the_file_that_they_lead_to(tmp_path, form):
    path = write_tar(
        tmp_path / "s.tar",
        [
            ("a.jpg", b"first"),
            ("hard.jpg", "a.jpg", tarfile.LNKTYPE),
            ("early.jpg", "./sub/../late.jpg", tarfile.SYMTYPE),
            ("sub", "", tarfile.DIRTYPE),
            ("sub/b.jpg", b"b"),
            ("sub/up.jpg", "../a.jpg", tarfile.SYMTYPE),
            ("chain.jpg", "sub/up.jpg", tarfile.SYMTYPE),
            ("second.jpg", "chain.jpg", tarfile.LNKTYPE),
            ("folder", "sub", tarfile.SYMTYPE),
            ("through.jpg", "folder/../folder/b.jpg", tarfile.SYMTYPE),
            ("a.jpg", b"newest"),
            ("newer.jpg", "a.jpg", tarfile.LNKTYPE),
            ("late.jpg", b"late"),
            ("ahead.jpg", "end.jpg", tarfile.LNKTYPE),
            ("end.jpg", b"end"),
        ],
        FORMATS[form],
    )
    assert listed(path) == [
        ("a.jpg", "file", b"first"),
        ("hard.jpg", "link", b"first"),
        ("early.jpg", "link", b"late"),
        ("sub", "folder", None),
        ("sub/b.jpg", "file", b"b"),
        ("sub/up.jpg", "link", b"newest"),  # as when all is unpacked
        ("chain.jpg", "link", b"newest"),
        ("second.jpg", "link", b"newest"),
        ("folder", "folder", None),
        ("through.jpg", "link", b"b"),
        ("a.jpg", "file", b"newest"),
        ("newer.jpg", "link", b"newest"),
        ("late.jpg", "file", b"late"),
        ("ahead.jpg", "link", b"end"),
        ("end.jpg", "file", b"end"),
    ]
    assert [entry.name for entry in shard_entries(str(path))][:3] == ["a.jpg", "hard.jpg", "early.jpg"]


def test_links_that_lead_nowhere_say_so(tmp_path):
    path = write_tar(
        tmp_path / "s.tar",
        [
            ("pipe", "", tarfile.FIFOTYPE),
            ("far.jpg", "../x.jpg", tarfile.SYMTYPE),
            ("gone.jpg", "x.jpg", tarfile.LNKTYPE),
            ("root.jpg", "/d/a.jpg", tarfile.SYMTYPE),
            ("one.jpg", "two.jpg", tarfile.SYMTYPE),
            ("two.jpg", "one.jpg", tarfile.SYMTYPE),
            ("self.jpg", "self.jpg", tarfile.LNKTYPE),
            ("to-pipe.jpg", "pipe", tarfile.SYMTYPE),
            ("d/a.jpg", b"a"),
            ("unnamed", "d", tarfile.SYMTYPE),
            ("here", ".", tarfile.SYMTYPE),
            ("below.jpg", "d/a.jpg/b.jpg", tarfile.SYMTYPE),
        ],
    )
    assert problems(path) == {
        "pipe": "is a fifo, not a file",
        "far.jpg": "is a link to ../x.jpg, which is not in the shard",
        "gone.jpg": "is a link to x.jpg, which is not in the shard",
        "root.jpg": "is a link to /d/a.jpg, which is not in the shard",
        "one.jpg": "is a link to two.jpg, which leads back to itself",
        "two.jpg": "is a link to one.jpg, which leads back to itself",
        "self.jpg": "is a link to self.jpg, which leads back to itself",
        "to-pipe.jpg": "is a link to pipe, which is a fifo, not a file",
        "d/a.jpg": "",
        "unnamed": "",
        "here": "",
        "below.jpg": "is a link to d/a.jpg/b.jpg, which is not in the shard",
    }
    assert {kind for name, kind, _ in listed(path) if name in ("unnamed", "here")} == {"folder"}


def test_a_link_leads_to_a_member_whose_name_begins_with_a_slash(tmp_path):
    links = [("x/link.png", "../abs/a.png", tarfile.SYMTYPE), ("/abs/beside.png", "a.png", tarfile.SYMTYPE)]
    path = write_tar(tmp_path / "s.tar", [("/abs/a.png", b"bytes"), *links])
    assert [content for _, content in contents(path)] == [b"bytes"] * 3
