"""A criterion from outside the package: a line in CRITERIA, and it trains from YAML."""

from typing import ClassVar

import pytest
import torch
import yaml
from torch.nn import functional

from pages import Page, readouts
from runs import QUANTIZERS, config, logged, resumed_equals_whole
from vistok.tokenizer.config import Config
from vistok.train.config import TrainConfig, parse_train_config
from vistok.train.config_reference import keys_text
from vistok.train.loop import train
from vistok.train.losses.criteria import CRITERIA, Criterion, CriterionConfig
from vistok.train.run import Run


class BlurConfig(CriterionConfig):
    """Squared difference of blurred images."""

    loss_names: ClassVar[tuple[str, ...]] = ("blur", "edges")
    side: int = 4

    def build(self):
        return Blur(self.side)


class Blur(Criterion):
    """Two terms of one fixed filter, whose weight would learn if the trainer let it."""

    def __init__(self, side):
        super().__init__()
        self.side = side
        self.filter = torch.nn.Parameter(torch.full((3, 1, side, side), 1 / side**2))

    def terms(self, images, reconstruction):
        difference = images - reconstruction
        coarse = functional.conv2d(difference, self.filter, stride=self.side, groups=3)
        fine = difference - functional.interpolate(coarse, scale_factor=self.side)
        return {"blur": coarse.square().mean(), "edges": fine.square().mean()}


@pytest.fixture(autouse=True)
def _blur(monkeypatch):
    monkeypatch.setitem(CRITERIA, "blur", BlurConfig)


BLUR = [*QUANTIZERS["fsq"], "criteria.blur.side=8", "losses.blur=0.5", "losses.edges=0.25"]


def test_it_trains_is_logged_and_is_on_the_chart(tmp_path):
    train(config(tmp_path, *BLUR, "run.log_every=1", steps=3))
    for line in logged(tmp_path):
        assert line["loss/blur"] > 0 and line["loss/edges"] > 0
        # The blurred and the fine part of a difference are orthogonal, so their squares add up.
        assert line["loss/blur"] + line["loss/edges"] == pytest.approx(line["loss/l2"], rel=1e-4)
        expected = line["loss/l2"] + 0.5 * line["loss/blur"] + 0.25 * line["loss/edges"]
        assert line["loss/total"] == pytest.approx(expected, rel=1e-5)
    written = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert written["criteria"] == {"blur": {"side": 8}}
    assert parse_train_config(written).criteria == {"blur": BlurConfig(side=8)}
    losses = readouts(Page((tmp_path / "report.html").read_text()))[0]["curves"]
    drawn = [[value for _, value in points] for points in losses]
    assert [pytest.approx(line["loss/blur"], rel=1e-4) for line in logged(tmp_path)] in drawn


def test_a_resumed_run_equals_one_that_never_stopped(tmp_path):
    resumed_equals_whole(tmp_path, *BLUR)


def test_it_learns_nothing_and_pulls_on_the_reconstruction(tmp_path, perceptual):
    """Beside another criterion; its own weight stays."""
    run = Run(config(tmp_path, *BLUR, *perceptual))
    blur, distance = run.criteria
    assert not blur.training and not any(parameter.requires_grad for parameter in run.criteria[0].parameters())
    images, reconstruction = torch.rand(2, 1, 3, 32, 32)
    reconstruction.requires_grad_()
    terms = blur.terms(images, reconstruction) | distance.terms(images, reconstruction)
    assert set(terms) == {"blur", "edges", "perceptual"}
    sum(terms.values()).backward()
    assert reconstruction.grad.abs().sum() > 0


def test_what_weighs_nothing_is_not_built(tmp_path):
    assert Run(config(tmp_path, *BLUR, "losses.blur=0", "losses.edges=0")).criteria == []
    assert len(Run(config(tmp_path, *BLUR, "losses.blur=0")).criteria) == 1


class SecondL2Config(CriterionConfig):
    loss_names: ClassVar[tuple[str, ...]] = ("l2",)

    def build(self):
        raise AssertionError


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["criteria.blur={}", "losses.blur=1"], "losses.edges has no weight: set losses.edges"),
        (
            ["losses.blur=1"],
            "losses.blur has a weight, but criteria has no blur: add the section criteria.blur",
        ),
        (["criteria.blurr={}"], "criteria.blurr is not a known criterion: did you mean 'blur'"),
        (["criteria.blur.sides=3"], "criteria.blur.sides is not a known key: did you mean 'side'"),
        (["criteria.blur=3"], "criteria.blur is 3, but must be a section of keys and values"),
        (["criteria=3"], "criteria is 3, but must be a section of keys and values"),
        (["losses.blu=1"], "losses.blu has a weight, but this model has no such term: did you mean 'blur'"),
        (
            ["criteria.blur={}", "losses.blur=1", "losses.edges=1", "losses.blurr=1"],
            "did you mean 'blur'[?] Otherwise choose from blur, charbonnier, edges, l1, l2, log_l2; with a section, also "
            "perceptual, latent, adversarial[.]$",
        ),
        (["criteria.l2={}"], "two terms have the name l2: rename that of the criterion, the quantizer or the recipe"),
    ],
)
def test_mistakes_are_errors_before_anything_is_built(tmp_path, monkeypatch, overrides, message):
    monkeypatch.setitem(CRITERIA, "l2", SecondL2Config)
    with pytest.raises(ValueError, match=message):
        Run(config(tmp_path, *QUANTIZERS["fsq"], *overrides))


def test_its_keys_are_in_the_config_reference():
    text = keys_text(TrainConfig, "criteria", 100)
    assert "criteria.blur: Squared difference of blurred images." in text and "criteria.blur.side" in text


def test_a_criterion_is_abstract_until_it_has_terms():
    assert issubclass(CriterionConfig, Config)
    with pytest.raises(TypeError, match="abstract"):
        Criterion()
