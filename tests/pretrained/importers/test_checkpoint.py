"""Checkpoint files are read without running what is pickled in them."""

import argparse
import os
import pickle
import sys
import types
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vistok.pretrained.importers.checkpoint import read_checkpoint

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3)}


def check(checkpoint):
    tensors = checkpoint.tensors
    assert tensors.keys() == WEIGHTS.keys() and all(torch.equal(tensors[name], WEIGHTS[name]) for name in WEIGHTS)


@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        {"model": WEIGHTS, "optimizer": {"state": {}}, "steps": 3},
        {"state_dict": WEIGHTS, "args": argparse.Namespace(lr=1.0)},
        {"model": {"a.weight": torch.zeros(1)}, "ema": WEIGHTS},
        {"model": {"state_dict": WEIGHTS, "version": "1"}},
    ],
)
def test_weights_are_found_in_what_training_programs_write(content, tmp_path):
    torch.save(content, tmp_path / "a.ckpt")
    check(read_checkpoint(tmp_path / "a.ckpt"))


def test_files_of_torch_before_1_6_are_read_too(tmp_path):
    torch.save({"model": WEIGHTS, "steps": 3}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    check(read_checkpoint(tmp_path / "a.pth"))


def test_safetensors(tmp_path):
    save_file(WEIGHTS, tmp_path / "a.safetensors")
    check(read_checkpoint(tmp_path / "a.safetensors"))


def test_training_state_of_lightning_becomes_stand_ins_and_is_not_imported(tmp_path, monkeypatch):
    """Published files name callbacks by their classes, of packages that are not installed here."""
    module = types.ModuleType("pytorch_lightning.callbacks")
    exec("class ModelCheckpoint:\n    pass", module.__dict__)
    monkeypatch.setitem(sys.modules, "pytorch_lightning", types.ModuleType("pytorch_lightning"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    callback = module.ModelCheckpoint()
    callback.best = 3
    torch.save({"state_dict": WEIGHTS, "callbacks": {module.ModelCheckpoint: callback}}, tmp_path / "a.ckpt")
    monkeypatch.delitem(sys.modules, module.__name__)
    monkeypatch.delitem(sys.modules, "pytorch_lightning")
    check(read_checkpoint(tmp_path / "a.ckpt"))
    assert "pytorch_lightning" not in sys.modules


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    ("zipped", "sentence"),
    [
        (True, r"a.pt would run code when it is loaded \((posix|nt).mkdir\), which vistok never does: save its state"),
        (False, r"a.pt is damaged or holds more than weights: download it again, or save its state dict as [^:]*\.$"),
    ],
)
def test_a_pickle_that_would_run_code_is_refused(tmp_path, zipped, sentence):
    content = {"model": WEIGHTS, "more": Malicious(tmp_path / "made")}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=sentence):
        read_checkpoint(tmp_path / "a.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (
            "gone.pt",
            None,
            r"^There is no checkpoint file .*gone.pt: give a file that ends in .safetensors, .pt, .pth, .ckpt or .bin\.$",
        ),
        ("a.onnx", b"x", r"a.onnx ends in .onnx: give a file that ends in .safetensors, .pt, .pth, .ckpt or .bin\.$"),
        ("bare", b"x", r"bare ends in nothing: give a file"),
        ("a.safetensors", b"x", r"a.safetensors is damaged \(.*\): download it again\.$"),
        ("a.ckpt", b"no pickle at all", r"a.ckpt is damaged or holds more than weights: download it again"),
        ("a.pth", b"", r"a.pth is damaged or holds more than weights: download it again"),
        ("a.pt", pickle.dumps({"a": os.mkdir}, protocol=4), r"a.pt is damaged or holds more than weights: "),
    ],
)
def test_files_that_are_no_checkpoints(name, content, sentence, tmp_path):
    path: Path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        read_checkpoint(path)


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(ValueError, match=r"^\S+ is a folder: give a file that ends in .safetensors"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("content", [{}, [1, 2], {"epoch": 3}, {"model": 3}])
def test_a_file_without_tensors(content, tmp_path):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(
        ValueError, match=r"a.pt holds no tensors, neither by themselves nor under ema, state_dict, model"
    ):
        read_checkpoint(tmp_path / "a.pt")
