import errno
import io
import os
import pickle
import random
import socket

import pytest

from vistok.images import file_entry as module
from vistok.images.file_entry import Entry, file_entry, problem_of


@pytest.fixture(params=["in memory", "from the file"])
def entry(request, tmp_path, monkeypatch):
    if request.param == "from the file":
        monkeypatch.setattr(module, "IN_MEMORY", 10)
    (tmp_path / "s").write_bytes(b"<" * 7 + bytes(range(256)) * 100 + b">" * 9)
    return Entry(str(tmp_path / "s"), 7, 25600, "name")


def test_an_open_entry_is_a_file_of_its_bytes(entry):
    expected = io.BytesIO(entry.read())
    assert expected.getvalue() == bytes(range(256)) * 100
    chance = random.Random(0)
    with entry.open() as file:
        assert file.seekable() and file.readable()
        for _ in range(300):
            offset, whence = chance.choice(
                [(chance.randrange(30000), 0), (chance.randrange(300), 1), (-chance.randrange(9999), 2)]
            )
            assert file.seek(offset, whence) == expected.seek(offset, whence)
            count = chance.choice([0, 1, 100, 20000, -1])
            assert file.read(count) == expected.read(count) and file.tell() == expected.tell()
        with pytest.raises(io.UnsupportedOperation):
            file.fileno()
        with pytest.raises((ValueError, OSError)):
            file.seek(-1)
    assert file.closed


def test_many_open_entries_leave_no_file_behind(entry):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with entry.open() as file:
            file.read(1)
    assert len(os.listdir("/proc/self/fd")) == before
    assert pickle.loads(pickle.dumps(entry)) == entry


def test_a_file_that_became_shorter_or_longer_is_an_error_of_reading(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"0123456789")
    whole, part = file_entry(str(path), "a.png"), Entry(str(path), 5, 5, "part")
    path.write_bytes(b"012345678")
    for entry in (whole, part):
        for read in (entry.read, entry.open):
            with pytest.raises(OSError, match="the file is shorter than it was") as found:
                read()
            assert found.value.errno == errno.EIO and found.value.filename == str(path)
    path.write_bytes(b"0123456789+")
    assert part.read() == b"56789"
    with pytest.raises(OSError, match="the file is longer than it was"):
        whole.read()


def test_a_file_that_became_shorter_while_it_was_read(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "IN_MEMORY", 10)
    path = tmp_path / "a.png"
    path.write_bytes(bytes(100_000))
    with file_entry(str(path), "a.png").open() as file:
        file.read(10)
        os.truncate(path, 50_000)
        with pytest.raises(OSError, match="the file is shorter than it was"):
            file.read()


def test_errors_of_reading_pass_unchanged(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        file_entry(str(tmp_path / "gone"), "gone").read()
    with pytest.raises(IsADirectoryError):
        file_entry(str(tmp_path), "folder").open()
    os.mkfifo(tmp_path / "pipe")
    for path, sentence in ((str(tmp_path / "pipe"), "is a fifo, not a file"), ("/dev/zero", "is a device, not a file")):
        with pytest.raises(OSError, match=sentence):  # and no wait for a writer
            file_entry(path, "x").read()


def test_problems_of_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "to-a").symlink_to("a.png")
    (tmp_path / "gone").symlink_to("nothing")
    (tmp_path / "round").symlink_to("round")
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert {
            path: problem_of(path)
            for path in (
                "a.png",
                "to-a",
                "none",
                "a.png/b",
                "x" * 300,
                "gone",
                "round",
                "pipe",
                "socket",
                "/dev/zero",
                ".",
            )
        } == {
            "a.png": "",
            "to-a": "",
            "none": "does not exist",
            "a.png/b": "does not exist",
            "x" * 300: "does not exist",
            "gone": "is a link to nowhere",
            "round": "is a link to nowhere",
            "pipe": "is a fifo, not a file",
            "socket": "is a socket, not a file",
            "/dev/zero": "is a device, not a file",
            ".": "is a folder, not a file",
        }

    def closed(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "stat", closed)
    assert problem_of("a.png") == ""  # that is for whoever reads it to say
