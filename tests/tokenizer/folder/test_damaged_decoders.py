"""Extra decoders that cannot be loaded: refused with a reason, and nothing else is kept from loading."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from decoder_cases import loaded, saved_folder, some_codes
from vistok.tokenizer.folder.decoders import decoder_names, load_decoder
from vistok.tokenizer.folder.save_load import load_tokenizer

NAME = "generative"


def edit(folder, **changes):
    path = folder / "decoders" / NAME / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_network(folder, **changes):
    network = json.loads((folder / "decoders" / NAME / "config.json").read_text())["network"]
    edit(folder, network=network | changes)


def edit_weights(folder, change):
    path = folder / "decoders" / NAME / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


DAMAGE = {
    "cut": (
        lambda f: cut(f / "decoders" / NAME / "model.safetensors"),
        r"model\.safetensors is damaged \(.*\): copy or train this decoder again\.$",
    ),
    "no weights": (lambda f: (f / "decoders" / NAME / "model.safetensors").unlink(), "it has no model.safetensors"),
    "no config": (lambda f: (f / "decoders" / NAME / "config.json").unlink(), "it has no config.json"),
    "NaN": (
        lambda f: edit_weights(f, lambda w: w["conv_out.bias"].fill_(torch.nan)),
        "values in conv_out.bias that are NaN",
    ),
    "shape": (
        lambda f: edit_network(f, channels=[8, 16, 24]),
        r"does not fit its config: halvings\.1\.conv\.weight is \(16, 16, 2, 2\), not \(24, 16, 2, 2\)",
    ),
    "missing": (lambda f: edit_weights(f, lambda w: w.pop("conv_out.bias")), "conv_out.bias is missing from the file"),
    "integers": (
        lambda f: edit_weights(f, lambda w: w.update({"conv_out.bias": w["conv_out.bias"].long()})),
        "has conv_out.bias as I64, but it must be one of BF16",
    ),
    "broken JSON": (
        lambda f: cut(f / "decoders" / NAME / "config.json"),
        r"config\.json is not JSON \(.*\): copy or train this decoder again\.$",
    ),
    "not an object": (
        lambda f: (f / "decoders" / NAME / "config.json").write_text("[]"),
        "holds a list, but must be an object",
    ),
    "unknown network": (
        lambda f: edit_network(f, name="fancy"),
        r"network\.name 'fancy' is not a known network: choose from",
    ),
    "unknown key": (lambda f: edit(f, fancy=1), "fancy is not a known key"),
    "unknown network key": (lambda f: edit_network(f, chanels=[8]), r"network\.chanels is not a known key"),
    "version": (lambda f: edit(f, format_version=2), "has format_version 2, but this vistok reads 1"),
    "text": (lambda f: edit(f, steps="1"), "steps is '1', but must be a whole number such as 1"),
    "steps": (lambda f: edit(f, steps=26), "steps is 26, but must be at most 25"),
    "scale": (lambda f: edit(f, scale=0.0), "scale is 0.0, but must be above 0"),
    "huge": (lambda f: edit_network(f, channels=[32768] * 8, blocks=64), r"model\.safetensors does not fit its config"),
    "another": (
        lambda f: edit(f, trained_for="0" * 64),
        r"was trained for another tokenizer or another plain decoder than",
    ),
    "stem": (
        lambda f: edit_network(f, stem=8),
        r"config\.json: stem is 8, but must divide the downsampling",
    ),
}


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_decoder_says_why_and_keeps_nothing_else_from_its_work(folder, damage):
    shutil.copytree(folder / "decoders" / NAME, folder / "decoders" / "whole")
    codes = some_codes(loaded(folder))
    expected, other = loaded(folder).decode_latent(codes), loaded(folder).decode_latent(codes, "whole")
    change, message = DAMAGE[damage]
    change(folder)
    model = loaded(folder)
    assert torch.equal(model.decode_latent(codes), expected) and torch.equal(model.decode_latent(codes, "whole"), other)
    assert list(model.broken_decoders) == [NAME] and list(model.decoders) == ["whole"]
    with pytest.raises(ValueError, match=message) as raised:
        model.decode_latent(codes, NAME)
    assert "\n" not in str(raised.value) and str(folder / "decoders" / NAME) in str(raised.value)


def test_more_steps_than_a_kind_can_take_are_refused(tmp_path):
    folder = saved_folder(tmp_path / "a", kind="noise_channels")
    edit(folder, steps=2)
    with pytest.raises(ValueError, match="has 2 steps, but noise_channels takes at most 1: correct it"):
        load_decoder(folder, NAME, load_tokenizer(folder).model)


def test_a_network_that_no_memory_can_hold_is_refused(folder):
    edit_network(folder, channels=[32768] * 8, blocks=1, time_channels=4096)
    with pytest.raises(ValueError, match=r"does not fit its config"):
        load_decoder(folder, NAME, load_tokenizer(folder).model)


def test_a_folder_of_a_bad_name_and_files_beside_are_no_decoders(folder):
    (folder / "decoders" / ".DS_Store").write_text("")
    (folder / "decoders" / "notes.txt").write_text("")
    (folder / "decoders" / ".hidden").mkdir()
    (folder / "decoders" / "train").mkdir()
    model = loaded(folder)
    assert list(model.decoders) == [NAME] and list(model.broken_decoders) == ["train"]
    assert "The name of a decoder is 'train'" in model.broken_decoders["train"]


def test_a_decoders_place_that_is_a_file_or_unreadable_is_no_place(folder, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.iterdir", refuse)
        assert decoder_names(folder) == []
    shutil.rmtree(folder / "decoders")
    (folder / "decoders").write_text("")
    assert decoder_names(folder) == [] and not loaded(folder).decoders
