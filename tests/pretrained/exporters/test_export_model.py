"""export-tokenizer to other formats: what it refuses, and that it leaves nothing half-written; archives of torch.export."""

import importlib.util
import json
import re

import pytest
import torch

import vistok
from exports import export, vqgan_folder
from vistok.pretrained.exporters import export_model as module
from vistok.pretrained.exporters.check_photos import check_photos, dead_leaves
from vistok.pretrained.exporters.table import EXPORTERS
from vistok.pretrained.exporters.torch_format import TorchExporter
from vistok.tokenizer.preprocessing import PreprocessingConfig

pytestmark = pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # torch 2.9, of archives


@pytest.fixture
def exported(tokenizer_folder, tmp_path):
    return export(tokenizer_folder, "--format", "torch", "--out", tmp_path / "out"), tmp_path / "out"


def test_archives_take_any_batch_and_grid(exported, tokenizer_folder, monkeypatch):
    said, folder = exported
    assert "encoder.pt2, decoder.pt2\ntokens      256 of 256 (100.000%) as in float32, on 4 synthetic photos" in said
    assert "pixels      differ by 0 of 255 grey levels at most" in said
    tokenizer = vistok.load(str(tokenizer_folder), device="cpu")
    facts = {"vistok.json": ""}
    encoder = torch.export.load(folder / "encoder.pt2", extra_files=facts)
    assert json.loads(facts["vistok.json"])["fingerprint"] == tokenizer.fingerprint
    assert not any("decoder" in name for name in encoder.state_dict)
    for shape in ((1, 3, 16, 16), (3, 3, 24, 40)):
        pixels = torch.rand(shape)
        tokens = tokenizer.encode(pixels)
        assert torch.equal(encoder.module()(pixels), tokens)
        images = torch.export.load(folder / "decoder.pt2").module()(tokens)
        torch.testing.assert_close(images, tokenizer.decode(tokens, output="tensor"), atol=1e-6, rtol=0)
    monkeypatch.chdir(folder)
    names = {}
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    exec(code, names)
    assert names["images"].shape == (1, 3, 64, 64)


def test_a_tokenizer_without_decoder_is_exported_without_it(tmp_path):
    folder = vqgan_folder(tmp_path / "half", encoder_only=True)
    said = export(folder, "--format", "torch", "--out", tmp_path / "out")
    assert "out: encoder.pt2\n" in said and "pixels" not in said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["README.md", "encoder.pt2", "vistok.json"]
    assert "There is no decoder." in (tmp_path / "out" / "README.md").read_text()


def test_files_that_do_not_agree_are_not_kept(tokenizer_folder, tmp_path, monkeypatch):
    class Wrong(TorchExporter):
        def load(self, folder):
            program = super().load(folder)
            return program._replace(encode=lambda pixels: program.encode(1 - pixels))

    monkeypatch.setitem(EXPORTERS, "torch", Wrong())
    said = export(tokenizer_folder, "--format", "torch", "--out", tmp_path / "out", code=1)
    assert "of the tokenizer's tokens on 4 synthetic photos, but must give 99%: nothing was written." in said
    assert not list(tmp_path.iterdir())


def test_what_a_library_cannot_translate_is_a_sentence(tokenizer_folder, tmp_path, monkeypatch):
    class Failing(TorchExporter):
        def write(self, source, folder):
            try:
                raise KeyError("aten.strange")
            except KeyError as error:
                raise RuntimeError("a page of text") from error

    monkeypatch.setitem(EXPORTERS, "torch", Failing())
    said = export(tokenizer_folder, "--format", "torch", "--out", tmp_path / "out", code=1)
    assert "torch.export cannot hold this tokenizer ('aten.strange'): take another --format, or report it." in said
    assert not list(tmp_path.iterdir())


def test_wrong_calls_are_sentences(tokenizer_folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    said = export(tokenizer_folder, "--format", "onxn", "--out", out, code=2)
    assert "--format 'onxn' is not a known format: did you mean 'onnx'?" in said
    assert "--format torch needs --out: give a new folder." in export(tokenizer_folder, "--format", "torch", code=2)
    said = export(tokenizer_folder, "--format", "torch", "--out", tokenizer_folder, code=2)
    assert "which exists already: give a new folder." in said
    said = export(tokenizer_folder, "--format", "torch", "--out", out, "--checkpoint", 3, code=2)
    assert (
        "--checkpoint belongs to a run, but --format torch takes a tokenizer: export the run as a folder first." in said
    )
    said = export(tokenizer_folder, "--out", out, "--data", tmp_path, code=2)
    assert "--data is for the check of other formats than folder: leave it out, or give --format." in said
    assert "A tokenizer needs --format, such as onnx." in export("photo-f8", "--out", out, code=2)
    assert "or the --format to write it in." in export(tokenizer_folder, "--out", out, code=2)
    (tmp_path / "no.png").write_bytes(b"no")
    said = export(tokenizer_folder, "--format", "torch", "--out", out, "--data", tmp_path / "no.png", code=2)
    assert "no.png cannot be used: " in said
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    said = export(tokenizer_folder, "--format", "onnx", "--out", out, code=2)
    assert "--format onnx needs the package onnx: pip install '.[onnx]' in vistok's checkout." in said
    assert module.MIN_AGREEMENT == 0.99 and not out.exists()


def test_synthetic_photos_are_like_photos():
    """Equal on every machine's second call; edges and flat parts: most neighbours differ little, some much."""
    first, again = dead_leaves(0), dead_leaves(0)
    assert first.tobytes() == again.tobytes() != dead_leaves(1).tobytes()
    photos = check_photos([], PreprocessingConfig(size=64), 8)
    assert photos.description == "4 synthetic photos" and {image.shape for image in photos.images} == {(64, 64, 3)}
    values = photos.images[0].astype(float).mean(axis=2)
    steps = abs(values[:, 1:] - values[:, :-1])
    assert (steps < 10).mean() > 0.4 and (steps > 40).mean() > 0.02 and values.std() > 25
