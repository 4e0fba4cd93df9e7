"""The figures of the optimizer, each derived another way."""

import math

import pytest
import torch
from accelerate import Accelerator

from samples import small_tokenizer
from vistok.tokenizer.config import parse_config
from vistok.train.optimizer import OptimizerConfig, build_optimizer, claim_parameters
from vistok.train.optimizer_health import OptimizerHealth, singular_entropy, update_rms


def build(**more):
    model = small_tokenizer()
    config = parse_config(OptimizerConfig, {"lr": 1e-3, **more}, "optimizer")
    claims = claim_parameters(model, config)
    return model, claims, build_optimizer(claims, config)


def give_gradients(model, scale=1.0):
    for parameter in model.parameters():
        parameter.grad = scale * torch.randn_like(parameter)


def test_entropy_is_that_of_the_singular_values():
    weights = [torch.randn(6, 4, 3, 3), torch.randn(20, 5), torch.randn(6, 36)]
    expected = []
    for weight in weights:
        share = torch.linalg.svdvals(weight.flatten(1).double()).square()
        share = share / share.sum()
        expected.append(float(-(share * share.log()).sum()) / math.log(len(share)))
    assert float(singular_entropy(weights)) == pytest.approx(sum(expected) / 3, abs=1e-5)


def test_entropy_is_one_for_orthogonal_and_zero_for_rank_one():
    orthogonal = torch.linalg.qr(torch.randn(12, 5))[0]
    assert float(singular_entropy([3 * orthogonal])) == pytest.approx(1, abs=1e-5)
    assert float(singular_entropy([torch.outer(torch.randn(5), torch.randn(12))])) == pytest.approx(0, abs=1e-4)


def test_entropy_leaves_out_what_has_none():
    orthogonal = torch.eye(5)
    rest = [torch.zeros(5, 5), torch.randn(1, 7), torch.full((5, 5), torch.inf)]
    assert float(singular_entropy([*rest, orthogonal])) == pytest.approx(1, abs=1e-5)
    assert math.isnan(float(singular_entropy(rest)))


def test_update_rms_leaves_the_decay_out():
    before, update = torch.randn(50), torch.randn(50)
    after = (1 - 0.1 * 0.3) * before - 0.1 * update
    assert float(update_rms([before], [after], 0.1, 0.3)) == pytest.approx(
        float(update.square().mean().sqrt()), rel=1e-4
    )


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_first_step_moves_muon_by_its_constant_and_adamw_by_one(weight_decay):
    model, _, optimizer = build(weight_decay=weight_decay)
    health = OptimizerHealth(optimizer, model)
    give_gradients(model)
    health.before_step()
    optimizer.step()
    values = health.after_step()
    assert values["optimizer/update_rms/muon"] == pytest.approx(0.2, rel=0.05)
    assert values["optimizer/update_rms/adamw"] == pytest.approx(1, rel=1e-2)  # the sign of a first gradient


def test_curvature_is_the_mean_root_of_the_second_moment_of_each_module():
    model, claims, optimizer = build(name="adamw")
    health = OptimizerHealth(optimizer, model)
    gradients = []
    for _ in range(3):
        give_gradients(model)
        gradients.append({claim.name: claim.parameter.grad.double() for claim in claims})
        health.before_step()
        optimizer.step()
        values = health.after_step()
    weights = [0.05 * 0.95**age / (1 - 0.95**3) for age in (2, 1, 0)]
    for module in ("encoder", "quantizer", "decoder"):
        roots = [
            sum(w * g[claim.name].square() for w, g in zip(weights, gradients, strict=True)).sqrt().flatten()
            for claim in claims
            if claim.name.startswith(module)
        ]
        assert values[f"optimizer/curvature/{module}"] == pytest.approx(float(torch.cat(roots).mean()), rel=1e-4)
    assert "optimizer/update_rms/muon" not in values and "optimizer/singular_entropy" not in values


def test_share_below_epsilon_counts_values_that_hardly_get_a_gradient():
    model, claims, optimizer = build(name="adamw")
    health = OptimizerHealth(optimizer, model)
    total = sum(claim.parameter.numel() for claim in claims)
    give_gradients(model)
    codebook = next(claim.parameter for claim in claims if claim.name.startswith("quantizer."))
    codebook.grad[10:] = 1e-9
    health.before_step()
    optimizer.step()
    assert health.after_step()["optimizer/below_epsilon"] == pytest.approx(codebook[10:].numel() / total)


def test_accelerates_wrapper_gives_the_same():
    values = []
    for wrap in (False, True):
        model, _, optimizer = build()
        if wrap:
            optimizer = Accelerator(cpu=True).prepare(optimizer)
        health = OptimizerHealth(optimizer, model)
        torch.manual_seed(1)
        for _ in range(2):
            give_gradients(model)
            health.before_step()
            optimizer.step()
            values.append(health.after_step())
    assert values[:2] == values[2:] and len(values[0]) == 14


def test_what_cannot_be_measured_is_left_out():
    model, _, optimizer = build()
    health = OptimizerHealth(optimizer, model)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    health.before_step()
    optimizer.step()  # without gradients
    assert set(health.after_step()) == {"optimizer/singular_entropy"}
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, torch.nan)
    health.before_step()
    optimizer.step()
    values = health.after_step()
    assert all(math.isfinite(value) for value in values.values()) and "optimizer/singular_entropy" not in values
