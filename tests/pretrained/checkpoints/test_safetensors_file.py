"""Files of the safetensors library, whole and damaged."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from vistok.pretrained.importers.checkpoint import read_checkpoint

TYPES = (
    torch.float64,
    torch.float32,
    torch.bfloat16,
    torch.float16,
    torch.float8_e4m3fn,
    torch.int64,
    torch.uint8,
    torch.bool,
)


def test_the_tensors_are_those_of_the_library(tmp_path):
    weights = {f"w{index}": torch.arange(6).reshape(2, 3).to(dtype) for index, dtype in enumerate(TYPES)}
    weights |= {"scalar": torch.tensor(2.0), "empty": torch.empty(0, 3)}
    save_file(weights, tmp_path / "a.safetensors", {"format": "pt"})
    tensors, expected = read_checkpoint(tmp_path / "a.safetensors").tensors, load_file(tmp_path / "a.safetensors")
    assert tensors.keys() == expected.keys()
    for name, value in expected.items():
        assert tensors[name].dtype == value.dtype and tensors[name].float().equal(value.float()), name


def header(**entry):
    fields = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | entry
    content = json.dumps({"a": fields}).encode()
    return len(content).to_bytes(8, "little") + content + bytes(8)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x", "its header is not one of safetensors"),
        (b"\xff" * 100, "its header is not one of safetensors"),
        (header()[:-1], "it is cut short: it has 76 bytes, and a is beyond them"),
        (header(data_offsets=[0, 16]), "its header is not one of safetensors"),
        (header(data_offsets=[8, 16]), "it is cut short: it has 78 bytes, and a is beyond them"),
        (header(data_offsets=[-8, 0]), "its header is not one of safetensors"),
        (header(shape=[2**70], data_offsets=[0, 2**72]), "it is cut short"),
        (header(shape=[0, 2**70], data_offsets=[0, 0]), "a has no proper shape"),
        (header(shape=[-2]), "its header is not one of safetensors"),
        (header(shape=2), "its header is not one of safetensors"),
        (header(dtype="F1"), "its header is not one of safetensors"),
        ((5).to_bytes(8, "little") + b"[[[[[", "its header is not one of safetensors"),
    ],
)
def test_damaged_files(content, said, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError) as raised:
        read_checkpoint(path)
    assert str(raised.value).startswith(f"{path} is damaged ({said}") and str(raised.value).endswith(
        "download it again."
    )
