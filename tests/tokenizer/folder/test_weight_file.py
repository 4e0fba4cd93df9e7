"""Weights are written one after the other, as the library would write them at once."""

import pytest
import torch
from safetensors.torch import load_file, save

from vistok.tokenizer.folder.weight_file import WRITTEN, write_weights


def kept(weights):
    return {name: value.dtype for name, value in weights.items()}


@pytest.mark.parametrize("metadata", [{}, {"made by": 'vistok "é"'}])
def test_the_bytes_are_those_of_the_library(metadata, tmp_path):
    weights = {f"é.{index}": torch.arange(6).reshape(2, 3).to(dtype) for index, dtype in enumerate(WRITTEN)}
    weights |= {"scalar": torch.tensor(2.0), "empty": torch.empty(0, 3), "z": torch.randn(3), "a": torch.randn(2)}
    write_weights(tmp_path / "a", weights, kept(weights), metadata)
    assert (tmp_path / "a").read_bytes() == save(weights, metadata or None)


def test_types_are_converted_and_shared_values_written_twice(tmp_path):
    table = torch.randn(3, 4)
    weights = {"one": table, "two": table.T}
    write_weights(tmp_path / "a", weights, {"one": torch.float16, "two": torch.float32}, {})
    read = load_file(tmp_path / "a")
    assert torch.equal(read["one"], table.half()) and torch.equal(read["two"], table.T)


def test_a_refusal_of_one_tensor_leaves_no_file(tmp_path):
    seen = []

    def before(name, tensor):
        seen.append(name)
        if name == "b":
            raise ValueError("no")

    weights = {"c": torch.ones(1), "b": torch.ones(1), "a": torch.ones(1)}
    with pytest.raises(ValueError, match="no"):
        write_weights(tmp_path / "w", weights, kept(weights), {}, before)
    assert seen == ["a", "b"] and list(tmp_path.iterdir()) == []


def test_no_second_copy_is_in_memory(tmp_path):
    weights = {f"w{index}": torch.zeros(4_000_000) for index in range(8)}
    before = anonymous_kilobytes()
    highest = []
    write_weights(tmp_path / "a", weights, kept(weights), {}, lambda *_: highest.append(anonymous_kilobytes()))
    assert max(highest) - before < 20_000  # all are 128 MB


def anonymous_kilobytes():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))
