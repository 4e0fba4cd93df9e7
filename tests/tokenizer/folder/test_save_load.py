import json
import shutil

import pytest
import torch

from samples import ARCHITECTURE, small_tokenizer
from vistok.tokenizer.folder.fingerprint import fingerprint
from vistok.tokenizer.folder.save_load import load_tokenizer, save_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig

QUANTIZERS = [
    {"name": "vq", "dim": 4, "codebook_size": 50},
    {"name": "ema", "dim": 4, "codebook_size": 50, "similarity": "cosine"},
    {"name": "simvq", "dim": 4, "codebook_size": 50, "gradient": "rotation"},
    {"name": "fsq", "levels": [7, 5]},
]
PREPROCESSING = PreprocessingConfig(size=64)


@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=lambda values: values["name"])
def test_tokens_and_images_survive_the_folder(tmp_path, quantizer):
    model = small_tokenizer(quantizer).eval()
    save_tokenizer(tmp_path, model, ARCHITECTURE, PREPROCESSING, "# card")
    loaded = load_tokenizer(tmp_path).model
    pixels = torch.rand(2, 3, 64, 64) * 2 - 1
    tokens = model.encode(pixels)
    assert torch.equal(loaded.encode(pixels), tokens)
    assert torch.equal(loaded.quantizer.lookup(tokens), model.quantizer.lookup(tokens))
    assert torch.equal(loaded.decode(tokens), model.decode(tokens))
    assert (tmp_path / "README.md").read_text().rpartition("\n<!-- vistok ")[0].endswith("---\n\n# card")


def test_half_precision_storage_rounds_once(tmp_path):
    model = small_tokenizer()
    save_tokenizer(tmp_path / "a", model, ARCHITECTURE, PREPROCESSING, "", dtype=torch.float16)
    first, config = load_tokenizer(tmp_path / "a")
    save_tokenizer(tmp_path / "b", first, ARCHITECTURE, PREPROCESSING, "", dtype=torch.float16)
    second, _ = load_tokenizer(tmp_path / "b")
    assert fingerprint(first, config) == fingerprint(second, config)


def test_fingerprint_covers_what_decides_the_tokens_and_nothing_else(tmp_path):
    config = save_tokenizer(tmp_path, small_tokenizer(), ARCHITECTURE, PREPROCESSING, "")

    def changed(part):
        model, _ = load_tokenizer(tmp_path)
        with torch.no_grad():
            next(iter(getattr(model, part).parameters())).flatten()[0] += 1e-3
        return fingerprint(model, config)

    model, _ = load_tokenizer(tmp_path)
    plain = fingerprint(model, config)
    assert changed("decoder") == plain and changed("quantizer_out") == plain
    assert len({plain, changed("encoder"), changed("quantizer_in"), changed("quantizer")}) == 4
    lanczos = config.model_copy(update={"preprocessing": PreprocessingConfig(size=64, resampling="lanczos")})
    assert fingerprint(model, lanczos) != plain


def test_training_state_changes_the_fingerprint_and_no_token(tmp_path):
    """As docs/finetune.md says of the folders of stages and the result."""
    model = small_tokenizer({"name": "simvq", "dim": 4, "codebook_size": 16}).eval()
    whole, alone = (
        save_tokenizer(tmp_path / name, model, ARCHITECTURE, PREPROCESSING, "", with_training_state=name == "whole")
        for name in ("whole", "alone")
    )
    assert (whole.quantizer.name, alone.quantizer.name) == ("simvq", "vq")
    (one, of_one), (other, of_other) = (load_tokenizer(tmp_path / name) for name in ("whole", "alone"))
    pixels = torch.rand(2, 3, 64, 64) * 2 - 1
    assert torch.equal(one.encode(pixels), other.encode(pixels))
    assert fingerprint(one, of_one) != fingerprint(other, of_other)


@pytest.fixture
def folder(tokenizer_folder, tmp_path):
    return shutil.copytree(tokenizer_folder, tmp_path / "copy")


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_damaged_folders_are_one_sentence(folder):
    with pytest.raises(ValueError, match=r"nowhere is not a tokenizer folder: it has no config.json"):
        load_tokenizer(folder / "nowhere")
    run = folder.parent / "a-run"
    shutil.copytree(folder, run / "export")
    with pytest.raises(
        ValueError, match=r"a-run is a run folder, not a tokenizer folder: give its export, .*a-run/export"
    ):
        load_tokenizer(run)
    edit_config(folder, format_version=99)
    with pytest.raises(ValueError, match=r"has format_version 99, but this vistok reads 1"):
        load_tokenizer(folder)
    edit_config(folder, format_version=1, quantizer={"name": "vq", "dim": 4, "codebook_size": 7})
    with pytest.raises(ValueError, match=r"quantizer.codebook.table is \(300, 4\), not \(7, 4\)"):
        load_tokenizer(folder)
    edit_config(folder, quantizer={"name": "fsq", "levels": [3, 3, 3, 3]})
    with pytest.raises(ValueError, match=r"quantizer.codebook.table is missing from the config"):
        load_tokenizer(folder)
    edit_config(folder, surprise=1)
    with pytest.raises(ValueError, match=r"surprise is not a known key"):
        load_tokenizer(folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    edit_config(folder, surprise=1)
    (folder / "config.json").write_text((folder / "config.json").read_text().replace(', "surprise": 1', ""))
    with pytest.raises(ValueError, match=r"model.safetensors is damaged"):
        load_tokenizer(folder)
    weights.unlink()
    with pytest.raises(ValueError, match=r"it has no model.safetensors"):
        load_tokenizer(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json is not JSON"):
        load_tokenizer(folder)
