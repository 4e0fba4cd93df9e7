"""One command at a time writes to a folder."""

import os
import signal
import subprocess
import sys

import pytest

from vistok.tokenizer.folder_lock import LOCK_FILE, FolderBusyError, hold_folder

HOLD = """
import sys, time
from pathlib import Path
from vistok.tokenizer.folder_lock import hold_folder
with hold_folder(Path(sys.argv[1]), "tokenize-images"):
    print("held", flush=True)
    time.sleep(60)
"""


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
from vistok.tokenizer.folder_lock import hold_folder
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
