"""Unpickling for real, which only a flag does."""

import os
import signal
import sys

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from golden_weights import golden_case
from hostile_pickles import Calls
from vistok.inference.commands.import_tokenizer import app
from vistok.pretrained.importers.checkpoint import read_checkpoint


def test_the_command_runs_nothing_unless_it_is_told_to(tmp_path):
    """A published file with a planted call imports as ever."""
    mark, path = tmp_path / "ran", tmp_path / "a.pt"
    content = {"ema": golden_case("llamagen/small_f8")[1], "args": Calls(os.mkdir, str(mark))}
    torch.save(content, path)
    for options in ([], ["--trust-pickle"]):
        out = tmp_path / f"out{len(options)}"
        called = CliRunner().invoke(app, ["llamagen", str(path), "--out", str(out), *options])
        assert (called.exit_code, called.stderr) == (0, "") and mark.exists() == bool(options)
        card = (out / "README.md").read_text()
        assert "- The weights are those under `ema` in the file." in card
        assert ("- The file was unpickled (`--trust-pickle`)." in card) == bool(options)
    assert (tmp_path / "out0" / "model.safetensors").read_bytes() == (
        tmp_path / "out1" / "model.safetensors"
    ).read_bytes()


def test_a_module_is_unpickled_with_its_class(tmp_path):
    net = nn.Linear(2, 3)
    torch.save({"model": net, "sparse": torch.ones(2, 2).to_sparse()}, tmp_path / "a.pt")
    tensors = read_checkpoint(tmp_path / "a.pt", trust_pickle=True).tensors
    assert tensors.keys() == {"weight", "bias"} and torch.equal(tensors["weight"], net.weight)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"no pickle", r"a\.pt cannot be unpickled \(\w+: [^\n]+\): install what it needs, or download it again\.$"),
        (None, r"a\.pt holds no tensors, neither by themselves nor under ema, [^:]+: give the file of the weights\.$"),
    ],
)
def test_what_is_wrong_even_then(content, sentence, tmp_path):
    torch.save({"epoch": 3}, tmp_path / "a.pt")
    if content:
        (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        read_checkpoint(tmp_path / "a.pt", trust_pickle=True)


def test_code_that_exits(tmp_path):
    torch.save({"a": Calls(sys.exit, 0)}, tmp_path / "a.pt")
    with pytest.raises(
        ValueError, match=r"a\.pt cannot be unpickled \(SystemExit: 0\): install what it needs, or download"
    ):
        read_checkpoint(tmp_path / "a.pt", trust_pickle=True)


def test_an_interruption_is_no_damage(tmp_path):
    torch.save({"a": Calls(signal.raise_signal, int(signal.SIGINT))}, tmp_path / "a.pt")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            read_checkpoint(tmp_path / "a.pt", trust_pickle=True)
    finally:
        signal.signal(signal.SIGINT, before)
