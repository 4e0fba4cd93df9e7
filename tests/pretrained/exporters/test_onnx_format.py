"""ONNX files: run by onnxruntime alone, they give vistok's tokens and images, for any batch and grid."""

import json
import re

import numpy as np
import pytest
import torch

import vistok
from exports import export, vqgan_folder
from samples import PHOTOS, noise_image
from vistok.pretrained.exporters import onnx_format

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A tokenizer with attention and cosine similarity, and its files."""
    folder = tmp_path_factory.mktemp("onnx")
    quantizer = {"name": "vq", "dim": 6, "codebook_size": 100, "similarity": "cosine"}
    model = vqgan_folder(folder / "vqgan", quantizer, pixel_values=[0.0, 1.0])
    said = export(model, "--format", "onnx", "--out", folder / "out")
    assert f"onnx        {folder / 'out'}: encoder.onnx, decoder.onnx\n" in said
    assert (
        "tokens      256 of 256 (100.000%) as in float32, on 4 synthetic photos" in said
        and "pixels      differ" in said
    )
    return vistok.load(str(model), device="cpu"), folder / "out"


def run(path, values):
    session = onnxruntime.InferenceSession(path)
    (given,) = session.get_inputs()
    return torch.from_numpy(session.run(None, {given.name: values.numpy()})[0])


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 8, 8), (3, 24, 40)])
def test_any_batch_and_grid(exported, batch, height, width):
    tokenizer, folder = exported
    pixels = torch.rand(batch, 3, height, width)
    tokens = tokenizer.encode(pixels)
    found = run(folder / "encoder.onnx", pixels)
    assert found.dtype == torch.int64 and torch.equal(found, tokens)
    images = run(folder / "decoder.onnx", tokens)
    torch.testing.assert_close(images, tokenizer.decode(tokens, output="tensor"), atol=1e-5, rtol=0)
    for index in range(batch):
        assert torch.equal(run(folder / "encoder.onnx", pixels[index : index + 1]), found[index : index + 1])


def test_tokens_out_of_range_are_the_nearest_that_exist(exported):
    """onnxruntime would refuse some and wrap negative ones around."""
    _, folder = exported
    tokens = torch.tensor([[[[-1, -101], [100, 2**40]]]])
    assert torch.equal(run(folder / "decoder.onnx", tokens), run(folder / "decoder.onnx", tokens.clamp(0, 99)))
    assert "from 0 to 99; the decoder takes others as the nearest of these |" in (folder / "README.md").read_text()


def test_axes_and_meanings_are_in_the_files(exported):
    tokenizer, folder = exported
    encoder, decoder = (onnx.load(folder / name) for name in ("encoder.onnx", "decoder.onnx"))

    def axes(value):
        return [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]

    assert axes(encoder.graph.input[0]) == axes(decoder.graph.output[0]) == ["b", 3, "4*y", "4*x"]
    assert axes(encoder.graph.output[0]) == axes(decoder.graph.input[0]) == ["b", 1, "y", "x"]
    facts = {entry.key: json.loads(entry.value) for entry in encoder.metadata_props}
    assert facts["vistok.fingerprint"] == tokenizer.fingerprint and facts["vistok.downsample"] == 4
    assert facts["vistok.pixels"] == "b 3 h w, float32, RGB, black 0, white 1"
    onnx.checker.check_model(encoder, full_check=True)


def test_the_description_and_the_code_of_the_card_need_no_vistok(exported, monkeypatch):
    tokenizer, folder = exported
    facts = json.loads((folder / "vistok.json").read_text())
    assert facts["vocab_size"] == 100 and facts["num_codebooks"] == 1 and facts["preprocessing"]["size"] == 32
    assert facts["files"] == {"encoder": "encoder.onnx", "decoder": "decoder.onnx"}
    assert facts["pixels"]["height"] is None and facts["agreement"]["tokens"] == 256
    monkeypatch.chdir(folder)
    names = {}
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    exec(code, names)
    assert names["tokens"].shape == (1, 1, 8, 8) and names["images"].shape == (1, 3, 32, 32)
    assert np.array_equal(names["tokens"], tokenizer.encode(torch.from_numpy(names["pixels"])).numpy())


def test_weights_that_are_too_large_for_a_file_lie_beside_it(exported, tmp_path, monkeypatch):
    tokenizer, _ = exported
    monkeypatch.setattr(onnx_format, "ONE_FILE", 1000)
    tokenizer.save_pretrained(tmp_path / "large")
    said = export(tmp_path / "large", "--format", "onnx", "--out", tmp_path / "out", "--data", PHOTOS / "rocket.jpg")
    assert "encoder.onnx, encoder.onnx.data, decoder.onnx, decoder.onnx.data" in said
    assert (tmp_path / "out" / "encoder.onnx.data").stat().st_size > 100_000
    pixels = torch.rand(1, 3, 16, 16)
    assert torch.equal(run(tmp_path / "out" / "encoder.onnx", pixels), tokenizer.encode(pixels))


def test_a_quantizer_of_one_grid_makes_files_of_one_size(tmp_path):
    inner = {"name": "vq", "dim": 6, "codebook_size": 50}
    folder = vqgan_folder(tmp_path / "scales", {"name": "multiscale", "quantizer": inner, "scales": [1, 2, 4]}, size=16)
    noise_image(16, 16).save(tmp_path / "noise.png")
    said = export(folder, "--format", "onnx", "--out", tmp_path / "out", "--data", tmp_path / "noise.png")
    assert "21 of 21 (100.000%)" in said
    pixels = json.loads((tmp_path / "out" / "vistok.json").read_text())["pixels"]
    assert (pixels["height"], pixels["width"]) == (16, 16)
    assert "| height and width | 16 x 16 |" in (tmp_path / "out" / "README.md").read_text()


def test_photo_f8_agrees_in_nearly_all_positions(tmp_path):
    said = export("photo-f8", "--format", "onnx", "--out", tmp_path / "out", "--data", PHOTOS, "--json")
    found = json.loads(said)
    assert found["tokens"] == 6 * 1024 and found["same"] >= 0.999 * found["tokens"]
    assert found["max_pixel_difference"] < 1e-4
