"""A quantizer from outside the package: chosen by name, trained, exported, loaded, and held by others."""

import json
import re
from typing import Annotated, Literal

import pytest
import torch
import yaml
from PIL import Image
from pydantic import Field

import vistok
from runs import DEBUG, PHOTOS, logged
from toy_quantizer import ToyQuantizer
from vistok.tokenizer.quantizers import (
    QUANTIZERS,
    QuantizerConfig,
    build_quantizer,
)
from vistok.train.config_file import read_config
from vistok.train.loop import train


class ToyConfig(QuantizerConfig):
    allowed_in = frozenset({"residual", "grouped"})
    name: Literal["toy"] = "toy"
    dim: int
    codes: Annotated[int, Field(ge=2)] = 16
    """Rows of the table."""

    def build(self):
        return ToyQuantizer(self, self.dim, self.codes)


TOY = {"name": "toy", "dim": 8, "codes": 24}
HELD = [
    TOY,
    {"name": "residual", "depth": 2, "quantizer": TOY},
    {"name": "grouped", "groups": 2, "shared": True, "quantizer": {**TOY, "dim": 4}},
]


@pytest.fixture(autouse=True)
def _in_the_table(monkeypatch):
    monkeypatch.setitem(QUANTIZERS, "toy", ToyConfig)


@pytest.mark.parametrize("quantizer", HELD, ids=lambda values: values["name"])
def test_it_trains_from_yaml_and_is_exported_and_loaded(tmp_path, quantizer):
    values = yaml.safe_load(DEBUG.read_text())
    values["run"] |= {"out": str(tmp_path / "run"), "steps": 3, "log_every": 1, "trackers": []}
    values["data"] |= {"train": str(PHOTOS), "size": 32}
    values["model"]["quantizer"] = quantizer
    values["losses"] = {"l2": 1.0, "pull": 1.0}
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(values))
    train(read_config(tmp_path / "toy.yaml"))
    assert [line["step"] for line in logged(tmp_path / "run") if "loss/pull" in line] == [1, 2, 3]

    written = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["model"]["quantizer"]
    exported = json.loads((tmp_path / "run" / "export" / "config.json").read_text())["quantizer"]
    for kept in (written, exported):
        assert {key: kept[key] for key in quantizer} == quantizer

    tokenizer = vistok.load(tmp_path / "run" / "export", device="cpu")
    tokens = tokenizer.encode(Image.open(next(PHOTOS.glob("*.jpg"))).resize((64, 32)))
    assert tokens.shape[1] == tokenizer.num_codebooks and tokenizer.vocab_size == 24
    assert tokenizer.decode(tokens)[0].size[0] > 0


@pytest.mark.parametrize("values", HELD, ids=lambda values: values["name"])
def test_every_key_survives_dump_and_reload(values):
    config = build_quantizer(values).config
    again = build_quantizer(json.loads(json.dumps(config.model_dump(mode="json")))).config
    assert again == config and again.model_dump() == config.model_dump()
    inner = config.model_dump().get("quantizer", config.model_dump())
    assert inner["codes"] == 24 and inner["name"] == "toy"


@pytest.mark.parametrize("values", HELD, ids=lambda values: values["name"])
def test_it_keeps_the_contract(values):
    torch.manual_seed(0)
    quantizer = build_quantizer(values).eval()
    latent = torch.randn(2, quantizer.dim, 3, 3)
    result = quantizer(latent)
    assert torch.equal(quantizer.lookup(result.tokens), result.latent)
    assert set(quantizer.train()(latent).losses) == set(quantizer.loss_names) == {"pull"}
    with pytest.raises(ValueError, match="takes b d y x with d = 8"):
        quantizer(latent[:, 1:])


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({**TOY, "name": "toi"}, "quantizer.name 'toi' is not a known quantizer: did you mean 'toy'?"),
        ({**TOY, "code": 3}, "quantizer.code is not a known key: did you mean 'codes'?"),
        ({"name": "toy"}, "quantizer.dim is missing: set it"),
        ({**TOY, "codes": 1}, "quantizer.codes is 1, but must be at least 2."),
        ({**HELD[1], "quantizer": {**TOY, "code": 3}}, "quantizer.quantizer.code is not a known key: did you mean"),
        (
            {**HELD[2], "quantizer": {**TOY, "name": "toi"}},
            "quantizer.quantizer.name 'toi' is not a known quantizer: did",
        ),
        (
            {"name": "multiscale", "quantizer": TOY},
            "quantizer.quantizer: toy cannot serve several scales: use vq, ema, simvq, fvq.",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(values, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        build_quantizer(values)


def test_who_may_hold_it_is_its_own_word(monkeypatch):
    monkeypatch.setattr(ToyConfig, "allowed_in", frozenset())
    with pytest.raises(
        ValueError, match=r"^quantizer.quantizer: toy cannot refine what other levels leave over: use vq"
    ):
        build_quantizer(HELD[1])
    with pytest.raises(ValueError, match=r"^quantizer.quantizer: toy cannot quantize a group of channels: use vq"):
        build_quantizer(HELD[2])
