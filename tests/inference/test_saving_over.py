"""Saving over a tokenizer: the old one or the new one is there, whole, whenever the work stops."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import vistok
from processes import environment
from stops import StopsAt
from vistok.tokenizer import files
from vistok.tokenizer.errors import WorkFailedError
from vistok.tokenizer.folder.replacing import NEW_FILES
from vistok.tokenizer.folder.save_load import load_tokenizer, save_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig


def changed(tokenizer):
    """Return another tokenizer, with other weights and another config."""
    with torch.no_grad():
        for weight in tokenizer.model.parameters():
            weight.add_(0.01)
    preprocessing = PreprocessingConfig(size=2 * tokenizer.config.preprocessing.size)
    tokenizer.config = tokenizer.config.model_copy(update={"preprocessing": preprocessing})
    return tokenizer


@pytest.fixture
def saved(tokenizer_folder, tmp_path):
    """A folder with a tokenizer and files of others, and what it has to be after a save."""
    vistok.load(tokenizer_folder, device="cpu").save_pretrained(tmp_path / "a")
    (tmp_path / "a" / "notes.txt").write_text("mine")
    return tmp_path / "a", changed(vistok.load(tokenizer_folder, device="cpu"))


def test_a_full_disk_leaves_the_old_tokenizer(saved, monkeypatch):
    folder, new = saved
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        sentence = (
            f"The tokenizer could not be saved in {folder} (the disk is full: make room, and save it again). "
            "What was there before is unchanged."
        )
        with pytest.raises(WorkFailedError, match=f"^{re.escape(sentence)}$"):
            new.save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    new.save_pretrained(folder)
    assert vistok.load(folder).fingerprint == new.fingerprint and (folder / "notes.txt").read_text() == "mine"


KILLED = """
import os, signal, sys
from pathlib import Path
import vistok
from vistok.tokenizer.folder.save_load import load_tokenizer, save_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig
left = int(sys.argv[2])
def dying(event, arguments):
    global left
    if event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "open") and ".vistok" in str(arguments[0]):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
folder = sys.argv[1]
tokenizer = vistok.load(folder, device="cpu")
size = PreprocessingConfig(size=2 * tokenizer.config.preprocessing.size)
tokenizer.config = tokenizer.config.model_copy(update={"preprocessing": size})
for weight in tokenizer.model.parameters():
    weight.add_(0.01)
print(tokenizer.fingerprint, flush=True)
sys.addaudithook(dying)
tokenizer.save_pretrained(folder)
"""


def test_a_kill_at_any_moment_leaves_the_old_or_the_new_tokenizer(saved, tokenizer_folder):
    """At each rename, removal and new folder; what cleans up after an exception does not run either."""
    folder, new = saved
    old = vistok.load(tokenizer_folder, device="cpu")
    seen = []
    for number in range(1, 40):
        old.save_pretrained(folder)
        stops = StopsAt(number, for_good=True)
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            for name in ("rename", "replace", "unlink", "mkdir"):
                patch.setattr(f"pathlib.Path.{name}", stops.within(getattr(Path, name)))
            patch.setattr(files.shutil, "rmtree", stops.within(files.shutil.rmtree))
            new.save_pretrained(folder)
        found = vistok.load(folder, device="cpu")
        assert found.fingerprint in (old.fingerprint, new.fingerprint)
        assert found.config.preprocessing == (old if found.fingerprint == old.fingerprint else new).config.preprocessing
        seen.append(found.fingerprint == new.fingerprint)
        if stops.left > 0:
            break
    assert stops.left > 0 and seen == sorted(seen) and len(seen) > 8 and not all(seen)
    assert sum(seen) > 3, "a move that was cut is finished"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("README.md", "config.json", "model.safetensors", "notes.txt"),
    ]


def test_a_process_that_is_killed_leaves_the_old_or_the_new_tokenizer(saved):
    folder, _ = saved
    before = vistok.load(folder, device="cpu").fingerprint
    command = [sys.executable, "-c", KILLED, str(folder), "9"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert vistok.load(folder, device="cpu").fingerprint in (before, done.stdout.strip())


def test_a_first_save_that_was_killed_can_be_repeated(tokenizer_folder, tmp_path):
    tokenizer = vistok.load(tokenizer_folder)
    tokenizer.save_pretrained(tmp_path / "a")
    for names in (["config.json"], ["config.json", "model.safetensors"]):  # as version 0.1 left them
        for name in names:
            (tmp_path / "a" / name).unlink(missing_ok=True)
        tokenizer.save_pretrained(tmp_path / "a")
        assert vistok.load(tmp_path / "a").fingerprint == tokenizer.fingerprint


def test_an_error_of_the_disk_names_the_file_where_it_was_to_be(tokenizer_folder, tmp_path, monkeypatch):
    model, config = load_tokenizer(tokenizer_folder)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError) as raised:
        save_tokenizer(tmp_path / "a", model, config.architecture, config.preprocessing, "")
    assert raised.value.filename == str(tmp_path / "a" / "model.safetensors") and not os.listdir(tmp_path / "a")


def test_a_cut_move_in_a_folder_that_cannot_be_written_to_is_one_sentence(saved, monkeypatch):
    folder, _ = saved
    (folder / NEW_FILES).mkdir()
    (folder / "config.json").rename(folder / NEW_FILES / "config.json")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", refuse)
        sentence = (
            f"{folder} holds a tokenizer whose saving was stopped, and cannot be written to (Permission denied): make it "
            "writable, and load it again."
        )
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            vistok.load(folder)
    assert vistok.load(folder) and not os.path.lexists(folder / NEW_FILES)


def test_notes_in_the_readme_are_kept(saved):
    folder, new = saved
    card = folder / "README.md"
    new.save_pretrained(folder)
    assert "vistok.load" in card.read_text() and card.read_text().count("<!-- vistok ") == 1
    for text in (card.read_text() + "\nMy notes.\n", card.read_text().replace("# a", "# Mine"), "mine alone"):
        card.write_text(text)
        new.save_pretrained(folder)
        assert card.read_text() == text
    card.unlink()
    new.save_pretrained(folder)
    assert "# a\n" in card.read_text()


def test_names_that_are_no_folder_are_refused(saved, tmp_path, monkeypatch):
    _, tokenizer = saved
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    for name in ("", " ", "\t"):
        with pytest.raises(ValueError, match=r"^save_pretrained got an empty name: give a folder\.$"):
            tokenizer.save_pretrained(name)
    sentence = (
        'save_pretrained got Path(""), which Python takes for the working directory: give a folder, or "." as text.'
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        tokenizer.save_pretrained(Path(""))
    sentence = r"The tokenizer cannot be saved in 'a\x00b', which has a NUL byte as no name can have: give another."
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        tokenizer.save_pretrained("a\0b")
    assert not os.listdir()
    tokenizer.save_pretrained(".")
    assert vistok.load(".").fingerprint == tokenizer.fingerprint
