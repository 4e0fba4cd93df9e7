"""What the quantizers' pages show is so."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from runs import DEBUG
from vistok.tokenizer.quantizers import QUANTIZERS
from vistok.train.config import TrainConfig
from vistok.train.losses.terms import check_loss_names

ROOM = Path(__file__).parents[3] / "tokenizer" / "quantizers"
README, METHODS = (ROOM / "README.md").read_text(), (ROOM / "METHODS.md").read_text()
CHOICES = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)


def test_there_are_five_choices():
    assert [yaml.safe_load(text)["model"]["quantizer"]["name"] for text in CHOICES] == [
        "fsq",
        "vq",
        "simvq",
        "residual",
        "bsq",
    ]


@pytest.mark.parametrize("text", CHOICES)
def test_a_choice_is_a_config_with_a_weight_for_each_loss(text):
    choice, values = yaml.safe_load(text), yaml.safe_load(DEBUG.read_text())
    values |= {"data": {"train": [{"path": "photos"}]}, "model": {**values["model"], **choice.pop("model")}, **choice}
    config = TrainConfig.model_validate(values)
    check_loss_names(config.losses, config.model.quantizer.build().loss_names, config.criteria)


def test_the_python_runs():
    names = {"z": torch.randn(1, 8, 2, 2)}
    exec(re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0], names)
    assert torch.equal(names["quantizer"].lookup(names["tokens"]), names["latent"])


def test_every_quantizer_has_a_row():
    assert {*re.findall(r"^\| `(\w+)` \|", METHODS, re.MULTILINE)} == {*QUANTIZERS}


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README + METHODS):
        path, _, anchor = target.partition("#")
        headings = re.findall(r"^#+ (.*)$", (ROOM / path).read_text(), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, target
