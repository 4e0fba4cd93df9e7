"""Unpickling for real, which only a flag does."""

import pytest
import torch
from torch import nn

from vistok.pretrained.importers.checkpoint import read_checkpoint


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
