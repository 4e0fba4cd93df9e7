"""A family of networks from outside the package: it trains from YAML, exports, loads, encodes and decodes."""

import re
from typing import Literal

import pytest
import torch
import yaml
from torch import nn

import vistok
from runs import new_process
from samples import PHOTOS
from vistok.tokenizer.networks.architectures import ARCHITECTURES
from vistok.tokenizer.networks.base import ArchitectureConfig, Decoder, Encoder
from vistok.train.config_file import read_config
from vistok.train.loop import train
from vistok.train.optimizer.routing import assign_parameters, routing_table
from vistok.train.run import Run


class ToyEncoder(Encoder):
    def __init__(self, patch, channels):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 16, patch, stride=patch), nn.GELU(), nn.Conv2d(16, channels, 1))

    def forward(self, pixels):
        return self.layers(pixels)

    def hidden_matrices(self):
        return []  # the first layer and the last one are all there is


class ToyDecoder(Decoder):
    def __init__(self, patch, channels):
        super().__init__()
        self.first, self.mixer = nn.Conv2d(channels, 16, 1), nn.Conv2d(16, 16, 1)
        self.to_pixels = nn.ConvTranspose2d(16, 3, patch, stride=patch)

    def forward(self, latent):
        with torch.autocast(latent.device.type, enabled=False):
            return self.to_pixels(nn.functional.gelu(self.mixer(self.first(latent.float()))))

    def hidden_matrices(self):
        return ["mixer.weight"]

    @property
    def last_layer(self):
        return self.to_pixels.weight


class ToyConfig(ArchitectureConfig):
    name: Literal["toy"] = "toy"
    latent_channels: int = 6
    patch: int = 8

    @property
    def downsample(self):
        return self.patch

    def latent_grid(self, height, width):
        return height // self.patch, width // self.patch

    def build_encoder(self):
        return ToyEncoder(self.patch, self.latent_channels)

    def build_decoder(self):
        return ToyDecoder(self.patch, self.latent_channels)


@pytest.fixture(autouse=True)
def toy_in_the_table(monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "toy", ToyConfig)
    new_process()


def config(folder, **architecture):
    values = {
        "run": {"out": str(folder / "run"), "steps": 4, "log_every": 1, "trackers": []},
        "data": {"train": str(PHOTOS), "size": 32, "batch_size": 2, "workers": 0},
        "model": {
            "architecture": {"name": "toy", "latent_channels": 5, **architecture},
            "quantizer": {"name": "fsq", "levels": [5, 5, 5]},
            "preprocessing": {"size": 32},
        },
        "losses": {"l2": 1.0, "adversarial": 0.1},
        "optimizer": {"name": "muon", "lr": 2e-3, "warmup": 1},
        "adversarial": {"adaptive": True, "discriminator": {"name": "patch", "channels": 8, "layers": 1}},
    }
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump(values))
    return read_config(path)


def test_it_trains_exports_loads_encodes_and_decodes(tmp_path):
    exported = train(config(tmp_path))
    log = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert len(log.splitlines()) == 4 and '"adversarial/' in log  # the adaptive weight, measured at the last layer
    tokenizer = vistok.load(exported, device="cpu")
    assert tokenizer.config.architecture == ToyConfig(latent_channels=5) and tokenizer.downsample == 8
    tokens = tokenizer.encode(torch.rand(2, 3, 32, 48))
    assert tokens.shape == (2, 1, 4, 6) and tokens.max() < tokenizer.vocab_size == 125
    assert tokenizer.decode(tokens, output="tensor").shape == (2, 3, 32, 48)
    again = vistok.load(exported, device="cpu")
    assert again.fingerprint == tokenizer.fingerprint and torch.equal(
        again.encode(torch.ones(3, 32, 32)), tokenizer.encode(torch.ones(3, 32, 32))
    )


def test_muon_takes_its_hidden_matrices_and_nothing_else(tmp_path):
    run = Run(config(tmp_path))
    assignments = assign_parameters(run.model, run.optimizer_config)
    assert [assignment.name for assignment in assignments if assignment.use_muon] == ["decoder.mixer.weight"]
    (muon,) = [group for group in run.optimizer.param_groups if group["use_muon"]]
    assert muon["params"] == [run.model.decoder.mixer.weight]
    assert [row[:3] for row in routing_table(assignments)][:2] == [
        ("hidden matrices of the networks", "Muon", 1),
        ("first and last layers", "AdamW", 6),
    ]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (
            ["mixr.weight"],
            "The networks call decoder.mixr.weight a hidden matrix, but the tokenizer has no such parameter",
        ),
        (
            ["mixer.bias"],
            r"Parameter decoder.mixer.bias of shape \(16,\) is given to Muon by 'hidden matrices of the networks'",
        ),
    ],
)
def test_hidden_matrices_that_are_none_are_errors(tmp_path, monkeypatch, names, sentence):
    monkeypatch.setattr(ToyDecoder, "hidden_matrices", lambda self: names)
    with pytest.raises(ValueError, match=f"^{sentence}"):
        Run(config(tmp_path))


@pytest.mark.parametrize(
    ("architecture", "sentence"),
    [
        ({"patches": 4}, "model.architecture.patches is not a known key: did you mean 'patch'?"),
        ({"name": "toi"}, "model.architecture.name 'toi' is not a known architecture: did you mean 'toy'?"),
        ({"patch": "wide"}, "model.architecture.patch is 'wide', but must be a whole number."),
        ({"patch": 7}, "data.size is 32, but must be a multiple of the downsampling, 7: try 35."),
    ],
)
def test_what_is_wrong_in_its_section_is_one_sentence(tmp_path, architecture, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        config(tmp_path, **architecture)
