"""The rate of a run at another batch size: each optimizer by its own law, told by the optimizer's own config."""

import pytest

from vistok.tokenizer.config import parse_config
from vistok.train.optimizer.config import OptimizerConfig
from vistok.train.optimizer.lr_scaling.config import LrScalingConfig
from vistok.train.optimizer.lr_scaling.laws import adabelief_rate, adam_rate, muon_rate

BEST = {"rule": "best_step", "base_batch_size": 16, "noise_scale": 300.0}


def config(**values):
    return parse_config(OptimizerConfig, {"lr": 1e-3, **values}, "optimizer")


def test_adamw_follows_its_law_with_its_own_betas():
    scaled = config(name="adamw", betas=[0.9, 0.95], scale_lr=BEST).at_batch_size(1024)
    assert scaled.lr == pytest.approx(0.50e-3, abs=0.005e-3) and scaled.scale_lr is None
    slower = config(name="adamw", betas=[0.0, 0.95], scale_lr=BEST).at_batch_size(1024)
    assert slower.lr == pytest.approx(1e-3 * ((1 + 300 / 16) / (1 + 300 / 1024)) ** 0.5)


def test_muon_and_adamw_follow_each_its_own_law():
    scaled = config(name="muon", muon_rate=2.0, momentum=0.95, betas=[0.9, 0.95], scale_lr=BEST).at_batch_size(256)
    adamw = 1e-3 * adam_rate(300 / 256, 0.9) / adam_rate(300 / 16, 0.9)
    muon = 2e-3 * muon_rate(300 / 256, 0.95) / muon_rate(300 / 16, 0.95)
    assert scaled.lr == pytest.approx(adamw) and scaled.lr * scaled.muon_rate == pytest.approx(muon)
    assert adamw < 1e-3 and muon > 2e-3


@pytest.mark.parametrize(("rule", "factor"), [("linear", 4), ("sqrt", 2)])
def test_plain_rules_move_both_alike(rule, factor):
    scaled = config(scale_lr={"rule": rule, "base_batch_size": 16}).at_batch_size(64)
    assert scaled.lr == pytest.approx(factor * 1e-3) and scaled.muon_rate == 1


def test_curvature_and_gradient_are_adamws():
    measured = {**BEST, "curvature_ratio": 0.6, "gradient_rms": 1e-8}
    for eps in (1e-8, 3e-8):
        scaled = config(name="adamw", eps=eps, scale_lr=measured).at_batch_size(64)
        at_64, at_16 = (adam_rate(300 / batch, 0.9, 0.6, eps / 1e-8) for batch in (64, 16))
        expected = 1e-3 * at_64 / at_16
        assert scaled.lr == pytest.approx(expected)


def test_the_second_moment_chooses_adamws_law():
    scaled = config(name="adamw", second_moment="centred", scale_lr=BEST).at_batch_size(64)
    assert scaled.lr == pytest.approx(1e-3 * adabelief_rate(300 / 64, 0.9) / adabelief_rate(300 / 16, 0.9))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"rule": "best_step"},
            "rule is best_step, which needs .* noise_scale is not set: .*, or choose linear or sqrt",
        ),
        (
            {"rule": "sqrt", "noise_scale": 3},
            "rule is sqrt, which takes nothing measured, but noise_scale is set: choose best_step, or remove it",
        ),
        (
            {"rule": "linear", "curvature_ratio": 3, "gradient_rms": 1},
            "rule is linear, .* but curvature_ratio and gradient_rms are set: choose best_step, or remove them",
        ),
    ],
)
def test_what_contradicts_is_an_error(values, message):
    with pytest.raises(ValueError, match="optimizer.scale_lr: " + message):
        parse_config(LrScalingConfig, {"base_batch_size": 8, **values}, "optimizer.scale_lr")


def test_adabelief_without_momentum_is_an_error():
    message = r"optimizer: second_moment is centred, .* but betas\[0\] is 0, .*: use raw, or betas\[0\] above 0"
    with pytest.raises(ValueError, match=message):
        config(second_moment="centred", betas=[0.0, 0.95], scale_lr=BEST)
