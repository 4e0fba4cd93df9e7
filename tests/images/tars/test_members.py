"""Members are files, folders, or say what else they are."""

import os
import shutil
import subprocess

import pytest

from tars import END, header, listed
from vistok.images.finding.index import shard_entries
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
        shard_entries(str(path))


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
