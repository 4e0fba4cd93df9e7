"""A checkpoint may be a file, or a folder with one, with shards, or with both halves of an autoencoder."""

import json

import pytest
import torch
from safetensors.torch import save_file

from vistok.pretrained.importers.checkpoint import read_checkpoint

A, B = {"a": torch.ones(2)}, {"b": torch.arange(3)}


def names(path):
    checkpoint = read_checkpoint(path)
    return sorted(checkpoint.tensors), [file.name for file in checkpoint.files]


@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.ckpt", "a.bin", "a.safetensors"])
def test_one_file_in_a_folder_with_settings(name, tmp_path):
    (save_file if name.endswith(".safetensors") else torch.save)(A, tmp_path / name)
    (tmp_path / "config.json").write_text('{"pixels": [0, 1]}')
    (tmp_path / "README.md").write_text("")
    for path in (tmp_path, tmp_path / name):
        assert names(path) == (["a"], [name])
        assert read_checkpoint(path).settings == {"pixels": [0, 1]}


def test_the_names_of_libraries_come_first(tmp_path):
    torch.save(A, tmp_path / "pytorch_model.bin")
    torch.save(A, tmp_path / "optimizer.pt")
    assert names(tmp_path)[1] == ["pytorch_model.bin"]
    save_file(B, tmp_path / "model.safetensors")
    assert names(tmp_path)[1] == ["model.safetensors"]
    save_file(A, tmp_path / "diffusion_pytorch_model.safetensors")
    assert names(tmp_path)[1] == ["diffusion_pytorch_model.safetensors"]


def test_shards_are_united(tmp_path):
    save_file(A, tmp_path / "model-1.safetensors")
    save_file(B, tmp_path / "model-2.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert names(tmp_path) == (["a", "b"], ["model-1.safetensors", "model-2.safetensors"])


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_both_halves_of_an_autoencoder_in_torchscript(tmp_path):
    halves = {"encoder": torch.nn.Linear(2, 3), "decoder": torch.nn.Linear(3, 2)}
    for name, half in halves.items():
        quantizer = torch.nn.Linear(1, 1)
        torch.nn.init.ones_(quantizer.weight), torch.nn.init.ones_(quantizer.bias)
        whole = torch.nn.ModuleDict({name: half, "quantizer": quantizer})
        torch.jit.save(torch.jit.script(whole), tmp_path / f"{name}.jit")
    torch.jit.save(torch.jit.script(halves["encoder"]), tmp_path / "autoencoder.jit")
    tensors, files = names(tmp_path)
    assert files == ["encoder.jit", "decoder.jit"]
    expected = [f"{part}.{value}" for part in ("decoder", "encoder", "quantizer") for value in ("bias", "weight")]
    assert tensors == expected


def test_two_values_for_a_name(tmp_path):
    save_file(A, tmp_path / "x.safetensors")
    save_file({"a": torch.zeros(2)}, tmp_path / "y.safetensors")
    (tmp_path / "x.index.json").write_text('{"weight_map": {"a": "x.safetensors", "b": "y.safetensors"}}')
    with pytest.raises(
        ValueError, match=r"has two tensors a, the second in y\.safetensors: give the file that is meant\.$"
    ):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (
            [],
            r"^\S+ is a folder without weights: give a file that ends in \.safetensors, .*\.jit or \.ts, or a folder with",
        ),
        (["a.pt", "b.pt"], r"^\S+ has several files of weights \(a\.pt, b\.pt\): give one of them\.$"),
        (["x.index.json={}"], r"x\.index\.json lists no files of weights: download it again\.$"),
        (["x.index.json=no"], r"x\.index\.json is not an object of JSON: download it again, or move it away\.$"),
        (
            ['x.index.json={"weight_map": {"a": "../a.pt"}}'],
            r"lists '\.\./a\.pt', which is no file of weights beside it",
        ),
        (
            ['x.index.json={"weight_map": {"a": "a.pt"}}'],
            r"has no a\.pt, which x\.index\.json lists: download it too\.$",
        ),
        (["a.pt", "config.json=[]"], r"config\.json is not an object of JSON"),
    ],
)
def test_folders_that_are_not_clear(files, sentence, tmp_path):
    for file in files:
        name, _, content = file.partition("=")
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=sentence):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "gone.pt",
            r"^There is no checkpoint \S+gone\.pt: give a file that ends in \.safetensors, \.pt, \.pth, \.ckpt, ",
        ),
        ("a.onnx", r"a\.onnx ends in \.onnx: give a file that ends in"),
        ("bare", r"bare ends in nothing: give a file"),
    ],
)
def test_files_of_other_kinds(name, sentence, tmp_path):
    if not name.startswith("gone"):
        (tmp_path / name).write_text("x")
    with pytest.raises(ValueError, match=sentence):
        read_checkpoint(tmp_path / name)
