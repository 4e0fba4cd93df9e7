"""Folders of diffusers' VQModel: the same tokens and images, or the first reason why not."""

import json

import pytest
import torch

import vistok
from exports import VQGAN, export, vqgan_folder
from samples import PHOTOS
from vistok.pretrained.exporters.diffusers_format import DiffusersExporter
from vistok.pretrained.importers.table import IMPORTERS
from vistok.tokenizer.folder.save_load import load_tokenizer

SIDE = VQGAN["encoder"]
SIMVQ = {"name": "simvq", "dim": 6, "codebook_size": 100}


@pytest.mark.parametrize("changes", [{}, {"pixel_values": [0.0, 1.0]}])
def test_a_vqmodel_gives_the_same_tokens_and_images(tmp_path, changes):
    pytest.importorskip("diffusers")
    folder = vqgan_folder(tmp_path / "vqgan", quantizer=SIMVQ, **changes)
    said = export(folder, "--format", "diffusers", "--out", tmp_path / "out", "--data", PHOTOS / "coffee.jpg")
    assert "config.json, diffusion_pytorch_model.safetensors" in said
    assert "64 of 64 (100.000%) as in float32, on 1 photo of coffee.jpg" in said

    pixels = torch.rand(2, 3, 24, 32)
    tokenizer = vistok.load(str(folder), device="cpu")
    tokens = tokenizer.encode(pixels)
    assert len(tokens.unique()) > 10
    program = DiffusersExporter().load(tmp_path / "out")
    black, white = changes.get("pixel_values", [-1, 1])
    assert torch.equal(program.encode(pixels * (white - black) + black), tokens)
    images = (program.decode(tokens) - black) / (white - black)
    torch.testing.assert_close(images.clamp(0, 1), tokenizer.decode(tokens, output="tensor"), atol=1e-5, rtol=0)


def test_every_weight_has_a_place_in_a_vqmodel(tmp_path):
    diffusers = pytest.importorskip("diffusers")
    folder = vqgan_folder(tmp_path / "vqgan")
    export(folder, "--format", "diffusers", "--out", tmp_path / "out")
    _, info = diffusers.VQModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(info.values())
    card = (tmp_path / "out" / "README.md").read_text()
    assert "black -1, white 1" in card and "VQModel.from_pretrained" in card
    assert json.loads((tmp_path / "out" / "vistok.json").read_text())["pixels"]["black"] == -1


@pytest.mark.skipif("diffusers" not in IMPORTERS, reason="no importer of the family diffusers yet")
def test_the_importer_reads_what_the_exporter_wrote(tmp_path):
    pytest.importorskip("diffusers")
    from vistok.pretrained.importers.import_checkpoint import import_checkpoint

    folder = vqgan_folder(tmp_path / "vqgan")
    export(folder, "--format", "diffusers", "--out", tmp_path / "out")
    import_checkpoint(tmp_path / "out" / "diffusion_pytorch_model.safetensors", tmp_path / "back", "diffusers")
    before, after = load_tokenizer(folder).model.state_dict(), load_tokenizer(tmp_path / "back").model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


REASONS = [
    ({"norm": "pixel"}, None, "its norm is pixel, not group"),
    ({"resampling": "shuffle"}, None, "its resampling is shuffle, not strided"),
    ({"stem": 2}, None, "its stem is 2, not 1"),
    (
        {"quantizer_convolutions": False},
        {"name": "vq", "dim": 12, "codebook_size": 99},
        "its quantizer_convolutions is false",
    ),
    ({"quantizer_kernel": 3}, None, "its quantizer_kernel is 3, not 1"),
    (
        {"decoder": {**VQGAN["decoder"], "blocks": [1, 1, 1]}},
        None,
        "its decoder has 1 blocks a level, not one more than",
    ),
    (
        {"decoder": {**VQGAN["decoder"], "blocks": [2, 2, 3]}},
        None,
        "its decoder has [2, 2, 3] blocks, not the same number at",
    ),
    ({"decoder": {**VQGAN["decoder"], "channels": [64, 32, 64]}}, None, "and its decoder [64, 32, 64], not the same"),
    ({"encoder": {**SIDE, "middle": False}}, None, "its encoder has middle false, which a VQModel does not have"),
    ({}, {"name": "fsq", "levels": [5, 5, 5]}, "its quantizer is fsq, which has no table of codes"),
    ({}, {**SIMVQ, "similarity": "cosine"}, "its quantizer compares by cosine, not by euclidean distance"),
    ({}, {**SIMVQ, "squash": "tanh"}, "its quantizer has squash 'tanh', not 'none'"),
]


@pytest.mark.parametrize(("changes", "quantizer", "reason"), REASONS)
def test_what_a_vqmodel_cannot_hold_is_one_sentence(tmp_path, monkeypatch, changes, quantizer, reason):
    monkeypatch.setattr(DiffusersExporter, "packages", ())
    folder = vqgan_folder(tmp_path / "vqgan", quantizer, **changes)
    said = export(folder, "--format", "diffusers", "--out", tmp_path / "out", code=2)
    assert "A VQModel of diffusers cannot hold this tokenizer: " in said and reason in said
    assert [path.name for path in tmp_path.iterdir()] == ["vqgan"]
