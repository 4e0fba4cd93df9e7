"""The folder of a fine-tuning belongs to one call, and no file in it is trusted blindly."""

import os
import shutil

import pytest

from runs import SWAP, finetune
from vistok.tokenizer.folder_lock import hold_folder
from vistok.train.checkpoints.checked_file import save_checked
from vistok.train.finetune.prepare import KeptFile


def copy_of(whole, out):
    """Return a copy of a fine-tuning's folder that believes to be its own."""
    shutil.copytree(whole, out)
    path = out / "finetune.yaml"
    path.write_text(path.read_text().replace(str(whole), str(out)))
    return out


class Planted:
    """A pickle that makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_file_is_valid_under_its_key_alone(tmp_path):
    warnings = []
    file = KeptFile(tmp_path / "a.pt", "one", warnings.append)
    assert file.load("Begin again.") is None
    file.save(step=3)
    assert file.load("Begin again.")["step"] == 3
    assert file._replace(key="two").load("Begin again.") is None and warnings == []
    file.path.write_bytes(b"junk")
    assert file.load("Begin again.") is None
    assert warnings == [f"{file.path} is damaged. Begin again."]


def test_a_planted_file_runs_no_code(tmp_path):
    path, trap, warnings = tmp_path / "a.pt", tmp_path / "trap", []
    save_checked(path, Planted(trap))
    assert KeptFile(path, "", warnings.append).load("Begin again.") is None
    assert f"{path} is damaged: it holds more than tensors" in warnings[0] and not trap.exists()


@pytest.mark.parametrize("content", [None, b"", b"model: [", b"\xff\xfe", b"- 1\n"])
def test_a_lost_config_is_a_warning(fsq_folder, photos, whole, tmp_path, content):
    late = copy_of(whole, tmp_path / "late")
    path = late / "finetune.yaml"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    said = finetune(fsq_folder, photos, late, *SWAP)
    assert f"warning: {path} is missing or damaged, so this folder may hold the results of another call." in said
    assert (late / "export" / "model.safetensors").read_bytes() == (whole / "export/model.safetensors").read_bytes()


def test_a_key_that_is_new_in_this_version_is_no_other_configuration(fsq_folder, photos, whole, tmp_path):
    path = copy_of(whole, tmp_path / "late") / "finetune.yaml"
    text = path.read_text()
    assert "  max_unreadable: 0.01\n" in text
    path.write_text(text.replace("  max_unreadable: 0.01\n", ""))
    finetune(fsq_folder, photos, path.parent, *SWAP)


def test_another_call_does_not_write_over_a_fine_tuning(fsq_folder, photos, whole, tmp_path):
    late = copy_of(whole, tmp_path / "late")
    kept = (late / "finetune.yaml").read_text()
    said = finetune(fsq_folder, photos, late, *SWAP, "--seed", 1, code=2)
    assert "holds a fine-tuning with another configuration" in said and "use another --out folder" in said
    assert (late / "finetune.yaml").read_text() == kept
    assert "seed: 1\n" in (late / "finetune.yaml.refused").read_text()


def test_a_call_that_failed_can_be_corrected(tokenizer_folder, photos, tmp_path):
    out = tmp_path / "out"
    finetune(tokenizer_folder, tmp_path / "nowhere", out, "--steps", 1, code=2)
    finetune(tokenizer_folder, photos, out, "--quantizer", "vq", "--codebook-size", 10**6, code=2)
    finetune(tokenizer_folder, photos, out, "--quantizer", "vq", "--codebook-size", 8)


def test_a_folder_that_is_held_is_not_touched(fsq_folder, photos, tmp_path):
    with hold_folder(tmp_path, "finetune-tokenizer"):
        said = finetune(fsq_folder, photos, tmp_path, *SWAP, code=2)
    assert "is being written to by finetune-tokenizer (pid" in said
    assert list(tmp_path.iterdir()) == []


def test_it_resumes_on_a_device_of_another_precision(tokenizer_folder, photos, tmp_path, monkeypatch):
    """Precision auto is kept as such: what it comes to on this machine is no other configuration."""
    for native in (True, False):
        monkeypatch.setattr("vistok.train.launcher.multiplies_bfloat16", lambda device, native=native: native)
        finetune(tokenizer_folder, photos, tmp_path, "--steps", 1, "--quiet")
    assert "precision: auto\n" in (tmp_path / "finetune.yaml").read_text()
