"""Files are whole or not there, and one command writes a folder at a time."""

import os
import signal
import subprocess
import sys

import pytest

from vistok.tokenizer.files import LOCK_FILE, FolderBusyError, aside_of, hold_folder, write_whole

HOLD = """
import sys, time
from pathlib import Path
from vistok.tokenizer.files import hold_folder
with hold_folder(Path(sys.argv[1]), "tokenize-images"):
    print("held", flush=True)
    time.sleep(60)
"""


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


def test_a_folder_is_held_by_one_process_at_a_time_and_never_by_a_dead_one(tmp_path):
    folder = tmp_path / "new" / "folder"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    expected = rf"folder is being written to by tokenize-images \(pid {holder.pid} on .*\): wait until it has ended, or"
    with pytest.raises(FolderBusyError, match=expected), hold_folder(folder, "train-tokenizer"):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    assert (folder / LOCK_FILE).exists()
    with hold_folder(folder, "train-tokenizer"):
        with pytest.raises(FolderBusyError, match=r"by train-tokenizer \(pid"), hold_folder(folder, "x"):
            pass
        assert os.listdir(folder) == [LOCK_FILE]
    assert os.listdir(folder) == []


CROWD = """
import contextlib, sys, time
from pathlib import Path
from vistok.tokenizer.files import hold_folder
folder = Path(sys.argv[1])
for _ in range(60):
    with contextlib.suppress(ValueError), hold_folder(folder, "tokenize-images"):
        open(folder / "mine", "x").close()  # fails when another holder is there
        time.sleep(0.002)
        (folder / "mine").unlink()
"""


def test_of_processes_that_want_a_folder_only_one_has_it(tmp_path):
    crowd = [subprocess.Popen([sys.executable, "-c", CROWD, tmp_path], stderr=subprocess.PIPE) for _ in range(3)]
    for process in crowd:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    assert os.listdir(tmp_path) == []
