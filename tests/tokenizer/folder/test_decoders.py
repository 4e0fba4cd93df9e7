"""Extra decoders on disk: whole, or refused with a reason that keeps nothing else from loading."""

import contextlib
import json
import re
import shutil
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import load_file, save_file

from decoder_cases import SMALL, draw, saved_folder, some_codes, tokenizer_of
from stops import StopsAt
from vistok.tokenizer import files
from vistok.tokenizer.decoders.base import DecoderConfig, ExtraDecoder
from vistok.tokenizer.decoders.noise import seeded_noise
from vistok.tokenizer.decoders.table import DECODERS
from vistok.tokenizer.folder.decoder_digest import decoder_digest
from vistok.tokenizer.folder.decoders import decoder_names, load_decoder, load_decoders, save_decoder
from vistok.tokenizer.folder.replacing import NEW_FILES, REMOVED
from vistok.tokenizer.folder.save_load import load_tokenizer, save_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig

NAME = "generative"


def loaded(folder):
    model = load_tokenizer(folder).model
    load_decoders(folder, model)
    return model


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return saved_folder(tmp_path_factory.mktemp("decoders") / "a")


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "a")


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


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("case", ["bare", "codebooks", "latent_tokens"])
def test_pixels_and_what_is_known_survive_the_folder(tmp_path, case, kind):
    folder = saved_folder(tmp_path / "a", case, kind)
    before, after = tokenizer_of(case, kind), loaded(folder)
    assert not after.broken_decoders and decoder_names(folder) == [NAME]
    codes = some_codes(before)
    assert torch.equal(before.decode_latent(codes, NAME, 3), after.decode_latent(codes, NAME, 3))
    extra = after.extra_decoder(NAME)
    assert (extra.scale, extra.steps, extra.card.figures) == (0.25, 1, {"psnr": 20.0})
    assert extra.trained_for == decoder_digest(after) and not extra.training
    assert not any(parameter.requires_grad for parameter in extra.parameters())


def test_adding_a_decoder_touches_nothing_else(tmp_path):
    model = tokenizer_of("convolutional", "residual_unet")
    extra = model.decoders.pop(NAME)
    save_tokenizer(tmp_path, model, model.architecture, PreprocessingConfig(size=16), "")
    before = contents(tmp_path)
    save_decoder(tmp_path, "one", extra, load_tokenizer(tmp_path).model)
    save_decoder(tmp_path, "two-2_", extra, load_tokenizer(tmp_path).model, torch.float16)
    assert before.items() <= contents(tmp_path).items()
    assert decoder_names(tmp_path) == ["one", "two-2_"] and list(loaded(tmp_path).decoders) == ["one", "two-2_"]
    one, two = ((tmp_path / "decoders" / name / "model.safetensors").stat().st_size for name in decoder_names(tmp_path))
    assert two < 0.7 * one


def test_weights_are_rounded_only_when_that_is_asked_for(tmp_path):
    model = tokenizer_of("convolutional", "residual_unet")
    extra = model.decoders.pop(NAME)
    save_tokenizer(tmp_path, model, model.architecture, PreprocessingConfig(size=16), "")
    sizes = []
    for dtype in (None, torch.float16, None):  # the last finds weights that float16 holds
        save_decoder(tmp_path, NAME, extra, load_tokenizer(tmp_path).model, dtype)
        sizes.append((tmp_path / "decoders" / NAME / "model.safetensors").stat().st_size)
        extra = loaded(tmp_path).extra_decoder(NAME)
    assert sizes[0] > sizes[1] == sizes[2]


class MeanConfig(DecoderConfig):
    name: Literal["mean"] = "mean"
    weight: float = 0.5

    def build(self, architecture, code_channels):
        return Mean(self)


class Mean(ExtraDecoder):
    """Adds noise of one number for a channel."""

    def __init__(self, config):
        super().__init__(config)
        self.gain = torch.nn.Parameter(torch.ones(3, 1, 1))

    def noise_shape(self, height, width):
        return 3, 1, 1

    def forward(self, codes, base, noise):
        return base + self.config.weight * self.gain * noise

    def start_from(self, plain):
        self.gain.data.fill_(2)

    def hidden_matrices(self):
        return []

    @property
    def last_layer(self):
        return self.gain


def test_a_kind_from_outside_the_package_is_saved_and_loaded(folder, monkeypatch):
    monkeypatch.setitem(DECODERS, "mean", MeanConfig)
    model = load_tokenizer(folder).model
    extra = MeanConfig(weight=0.25).build(model.architecture, model.quantizer.dim)
    extra.start_from(model.plain)
    save_decoder(folder, "other", extra, model)
    codes, found = some_codes(model, count=2), loaded(folder)
    noise = seeded_noise(3, (3, 1, 1), torch.device("cpu"))
    assert torch.equal(found.decode_latent(codes, "other", 3), found.decode_latent(codes) + 0.5 * noise)


@pytest.mark.parametrize("name", ["plain", "", "a b", "../a", "a/b", ".a", "train", "values", "x" * 65, "a.b"])
def test_names_that_no_decoder_can_have(folder, name):
    model = load_tokenizer(folder).model
    message = (
        rf"decoder is {re.escape(repr(name))}, but must be up to 64 letters, digits, - and _, and neither plain nor"
    )
    with pytest.raises(ValueError, match=message):
        save_decoder(folder, name, DECODERS["residual_unet"]().build(model.architecture, model.quantizer.dim), model)


DAMAGE = {
    "cut": (lambda f: cut(f / "decoders" / NAME / "model.safetensors"), r"model\.safetensors is damaged \("),
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
    "broken JSON": (lambda f: cut(f / "decoders" / NAME / "config.json"), r"config\.json is not JSON"),
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


@pytest.mark.parametrize("part", ["quantizer", "quantizer_out", "decoder", "encoder"])
def test_a_decoder_goes_with_the_codes_and_the_plain_decoder_not_with_the_encoder(folder, part):
    model, config = load_tokenizer(folder)
    with torch.no_grad():
        next(iter(getattr(model, part).parameters())).flatten()[0] += 1e-2
    shutil.move(folder / "decoders", folder.parent / "kept")  # as saving removes it
    save_tokenizer(folder, model, config.architecture, config.preprocessing, "")
    shutil.move(folder.parent / "kept", folder / "decoders")
    model = loaded(folder)
    assert bool(model.decoders) == (part == "encoder") and bool(model.broken_decoders) == (part != "encoder")


def test_other_preprocessing_keeps_the_decoder(folder):
    model, config = loaded(folder), load_tokenizer(folder).config
    save_tokenizer(folder, model, config.architecture, PreprocessingConfig(size="native"), "")
    assert list(loaded(folder).decoders) == [NAME]


def test_saving_over_a_folder_replaces_its_decoders(folder):
    model, config = loaded(folder), load_tokenizer(folder).config
    settings = config.architecture, config.preprocessing, ""
    for before, after in (([NAME], ["b", "c"]), (["b", "c"], ["c"]), (["c"], [])):
        assert decoder_names(folder) == before
        (extra,) = {id(each): each for each in model.decoders.values()}.values() or [None]
        model.decoders.clear()
        model.decoders.update(dict.fromkeys(after, extra))
        save_tokenizer(folder, model, *settings)
        assert decoder_names(folder) == after and list(loaded(folder).decoders) == after
        assert REMOVED not in {path.name for path in folder.rglob("*")}


def test_a_stop_at_any_moment_leaves_the_old_or_the_new_decoders(original, tmp_path):
    """Old and new tokenizer have a decoder of one name, and one of their own each."""
    old, new = loaded(original), loaded(original)
    config = load_tokenizer(original).config
    old.decoders["old"] = old.decoders[NAME]
    draw(new.decoders[NAME])
    new.decoders["new"] = new.decoders[NAME]
    settings = config.architecture, config.preprocessing, ""
    codes, seen = some_codes(old), []
    expected = [model.decode_latent(codes, NAME) for model in (old, new)]
    for number in range(1, 60):
        folder = tmp_path / str(number)
        save_tokenizer(folder, old, *settings)
        stops = StopsAt(number, for_good=True)
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            for name in ("rename", "replace", "unlink", "mkdir"):
                patch.setattr(f"pathlib.Path.{name}", stops.within(getattr(Path, name)))
            patch.setattr(files.shutil, "rmtree", stops.within(files.shutil.rmtree))
            save_tokenizer(folder, new, *settings)
        found = loaded(folder)
        is_new = list(found.decoders) == [NAME, "new"]
        assert is_new or list(found.decoders) == [NAME, "old"]
        assert not found.broken_decoders and torch.equal(found.decode_latent(codes, NAME), expected[is_new])
        seen.append(is_new)
        shutil.rmtree(folder)
        if stops.left > 0:
            break
    assert stops.left > 0 and seen == sorted(seen) and 5 < sum(seen) < len(seen) - 5


def test_a_list_of_folders_to_remove_cannot_name_others(folder, tmp_path):
    victim = tmp_path / "victim" / "mine"
    victim.mkdir(parents=True)
    (folder / NEW_FILES).mkdir()
    outside = ["../victim/mine", str(victim), "decoders/../../victim", "decoders", ".", "", "linked/mine"]
    (folder / "linked").symlink_to(tmp_path / "victim")
    (folder / NEW_FILES / REMOVED).write_text("\n".join(outside))
    assert load_tokenizer(folder) and victim.is_dir() and decoder_names(folder) == [NAME]


def test_a_stopped_save_of_one_decoder_that_cannot_be_finished_is_told(folder, monkeypatch):
    place = folder / "decoders" / NAME
    (place / NEW_FILES).mkdir()
    (place / "config.json").rename(place / NEW_FILES / "config.json")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", refuse)
        assert re.search(
            r"holds a decoder whose saving was stopped, .*\(Permission denied\)", loaded(folder).broken_decoders[NAME]
        )
    assert NAME in loaded(folder).decoders
