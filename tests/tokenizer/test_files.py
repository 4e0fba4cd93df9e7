"""Files are whole or not there."""

import os

import pytest

from vistok.tokenizer.files import aside_of, write_whole


def test_a_name_of_255_bytes_can_be_written(tmp_path):
    path = tmp_path / ("n" * 255)
    write_whole(path, b"content")
    assert path.read_bytes() == b"content" and os.listdir(tmp_path) == [path.name]
    assert len(aside_of(path).name) < 30 and aside_of(path) != aside_of(tmp_path / ("n" * 254))


def test_what_the_disk_refuses_leaves_what_was_there(tmp_path, monkeypatch):
    write_whole(tmp_path / "a", b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old" and os.listdir(tmp_path) == ["a"]
