"""Extra decoders on disk: what survives, which names they may have, and which tokenizer they belong to."""

import re
import shutil
from typing import Literal

import pytest
import torch

from decoder_cases import SMALL, loaded, saved_folder, some_codes, tokenizer_of
from vistok.tokenizer.decoders.base import DecoderConfig, ExtraDecoder
from vistok.tokenizer.decoders.noise import seeded_noise
from vistok.tokenizer.decoders.table import DECODERS
from vistok.tokenizer.folder.decoder_digest import decoder_digest
from vistok.tokenizer.folder.decoders import decoder_names, save_decoder
from vistok.tokenizer.folder.save_load import load_tokenizer, save_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig

NAME = "generative"


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


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


@pytest.mark.parametrize("part", ["quantizer", "quantizer_out", "decoder", "encoder"])
def test_a_decoder_goes_with_the_codes_and_the_plain_decoder_not_with_the_encoder(folder, part):
    model, config = load_tokenizer(folder)
    with torch.no_grad():
        next(iter(getattr(model, part).parameters())).flatten()[0] += 1e-2
    shutil.move(folder / "decoders", folder.parent / "kept")  # which does not fit for now
    save_tokenizer(folder, model, config.architecture, config.preprocessing, "")
    shutil.move(folder.parent / "kept", folder / "decoders")
    model = loaded(folder)
    assert bool(model.decoders) == (part == "encoder") and bool(model.broken_decoders) == (part != "encoder")


def test_decoders_are_not_written_beside_what_they_do_not_fit(tmp_path):
    model = tokenizer_of("convolutional", "residual_unet")
    with pytest.raises(AssertionError, match="extra decoders fit the plain decoder and the codes as they are"):
        save_tokenizer(tmp_path, model, model.architecture, PreprocessingConfig(size=16), "", torch.float16)


def test_other_preprocessing_keeps_the_decoder(folder):
    model, config = loaded(folder), load_tokenizer(folder).config
    save_tokenizer(folder, model, config.architecture, PreprocessingConfig(size="native"), "")
    assert list(loaded(folder).decoders) == [NAME]
