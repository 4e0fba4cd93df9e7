"""Public tokenizers are fine-tuned like vistok's own: every family a step, one of LlamaGen's networks in each way."""

import json
import re

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from small_checkpoints import small_checkpoint

import vistok
from golden_weights import GOLDEN, golden_case
from runs import finetune
from samples import PHOTOS
from vistok.pretrained.importers.import_checkpoint import import_checkpoint
from vistok.pretrained.importers.table import IMPORTERS
from vistok.tokenizer.folder.save_load import load_tokenizer

CHOSEN = {"emu3.5": "small", "llamagen": "small_f8", "taming": "small_gumbel"}
FIRST = {family: sorted(path.stem for path in GOLDEN.glob(f"{family}/*.json")) for family in IMPORTERS}
FAMILIES = [f"{family}/{CHOSEN.get(family, cases[0])}" for family, cases in FIRST.items() if cases]
LARGE = ("titok", "unitok")
"""Families whose golden networks have a hundred million weights: theirs are made smaller."""
ONE_STEP = ["--steps", 1, "--set", "data.batch_size=1", "--quiet"]


def imported(name, folder, **preprocessing):
    """Import a golden case as a tokenizer folder, with published metrics, and change its preprocessing."""
    family, _, _ = name.partition("/")
    if family in LARGE:
        weights = small_checkpoint(name)
    else:
        case, weights = golden_case(name)
        if family == "var":  # its scales are not in the weights
            (folder / "config.json").write_text(json.dumps(case["hyperparameters"]))
    save_file({key: weight.contiguous() for key, weight in weights.items()}, folder / "weights.safetensors")
    out = folder / "tokenizer"
    import_checkpoint(folder / "weights.safetensors", out, family)
    config = json.loads((out / "config.json").read_text())
    if config["architecture"]["image_size"] is None:
        config["preprocessing"] |= preprocessing
    config["origin"]["published"] = {"rfid": 2.19}
    (out / "config.json").write_text(json.dumps(config))
    return out


def state_of(folder):
    model, config = load_tokenizer(folder)
    return model.state_dict(), config


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "coffee.png"
    Image.open(PHOTOS / "coffee.jpg").resize((64, 64)).save(path)
    return path


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_learns_in_all_its_parts(name, photo, tmp_path):
    tokenizer = imported(name, tmp_path, size=32)
    finetune(tokenizer, photo, tmp_path / "out", *ONE_STEP, "--val", photo)
    (before, config), (after, tuned) = state_of(tokenizer), state_of(tmp_path / "out" / "export")
    assert tuned.architecture == config.architecture and tuned.quantizer == config.quantizer
    assert tuned.origin == config.origin.model_copy(update={"published": {}})
    learned = {name.split(".")[0] for name, weight in after.items() if not torch.equal(weight, before[name])}
    trainable = {name.split(".")[0] for name, weight in before.items() if weight.is_floating_point() and weight.numel()}
    assert learned == trainable and all(weight.isfinite().all() for weight in after.values())


@pytest.fixture(scope="module")
def llamagen(tmp_path_factory):
    return imported("llamagen/small_f8", tmp_path_factory.mktemp("llamagen"), size=64)


def test_the_decoder_of_an_import_is_trained_and_its_tokens_stay(llamagen, photos, tmp_path):
    finetune(llamagen, photos, tmp_path, "--only", "decoder", "--steps", 2)
    before, after = vistok.load(llamagen), vistok.load(tmp_path / "export")
    assert after.fingerprint == before.fingerprint
    old, new = before.model.state_dict(), after.model.state_dict()
    changed = {name.split(".")[0] for name in old if not torch.equal(old[name], new[name])}
    assert changed == {"decoder"}
    tokens = before.encode(PHOTOS / "coffee.jpg")
    assert torch.equal(tokens, after.encode(PHOTOS / "coffee.jpg"))
    assert not torch.equal(before.decode(tokens, "tensor"), after.decode(tokens, "tensor"))


@pytest.mark.parametrize(
    ("options", "codes"),
    [(["--quantizer", "fsq", "--levels", "8,5,5"], 200), (["--quantizer", "simvq", "--codebook-size", 32], 32)],
)
def test_the_quantizer_of_an_import_is_swapped(llamagen, photos, tmp_path, options, codes):
    finetune(llamagen, photos, tmp_path, *options)
    before, after = vistok.load(llamagen), vistok.load(tmp_path / "export")
    assert after.vocab_size == codes and after.fingerprint != before.fingerprint
    old, new = before.model.encoder.state_dict(), after.model.encoder.state_dict()
    assert all(torch.equal(old[name], new[name]) for name in old)
    assert after.decode(after.encode(PHOTOS / "coffee.jpg"), "tensor").isfinite().all()
    card = (tmp_path / "export" / "README.md").read_text()
    origin = before.config.origin
    assert f"The original weights are for {origin.source}; their licence: {origin.licence}." in card
    assert origin.published == {"rfid": 2.19} and after.config.origin == origin.of_derived()


def test_a_tokenizer_without_a_decoder_cannot_be_fine_tuned(photo, tmp_path):
    tokenizer = imported("emu3.5/apertus", tmp_path, size=32)
    said = finetune(tokenizer, photo, tmp_path / "out", *ONE_STEP, code=2)
    reason = (
        "has no decoder, because its checkpoint has none, so it cannot be fine-tuned: import the checkpoint with the"
    )
    assert re.search(f"finetune-tokenizer: {re.escape(str(tokenizer))} {reason} decoder.", said)
    assert not (tmp_path / "out" / "finetune.yaml").exists()
