"""The figures of the optimizer, each derived another way."""

import math

import pytest
import torch
from accelerate import Accelerator

from samples import small_tokenizer
from vistok.tokenizer.config import parse_config
from vistok.train.diagnostics.update_statistics import UpdateStatistics, singular_entropy, update_rms
from vistok.train.optimizer.config import OptimizerConfig
from vistok.train.optimizer.muon import Muon
from vistok.train.optimizer.routing import assign_parameters, build_optimizer


def build(**more):
    model = small_tokenizer()
    config = parse_config(OptimizerConfig, {"lr": 1e-3, **more}, "optimizer")
    assignments = assign_parameters(model, config)
    return model, assignments, build_optimizer(assignments, config)


def give_gradients(model, scale=1.0):
    for parameter in model.parameters():
        parameter.grad = scale * torch.randn_like(parameter)


def test_entropy_is_that_of_the_singular_values():
    weights = [torch.randn(6, 4, 3, 3), torch.randn(20, 5), torch.randn(6, 36)]
    expected = []
    for weight in weights:
        fraction = torch.linalg.svdvals(weight.flatten(1).double()).square()
        fraction = fraction / fraction.sum()
        expected.append(float(-(fraction * fraction.log()).sum()) / math.log(len(fraction)))
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
    health = UpdateStatistics(optimizer, model)
    give_gradients(model)
    health.before_step()
    optimizer.step()
    values = health.after_step()
    assert values["optimizer/update_rms/muon"] == pytest.approx(0.2, rel=0.05)
    assert values["optimizer/update_rms/adamw"] == pytest.approx(1, rel=1e-2)  # the sign of a first gradient


def test_curvature_is_the_mean_root_of_the_second_moment_of_each_module():
    model, assignments, optimizer = build(name="adamw")
    health = UpdateStatistics(optimizer, model)
    gradients = []
    for _ in range(3):
        give_gradients(model)
        gradients.append({assigned.name: assigned.parameter.grad.double() for assigned in assignments})
        health.before_step()
        optimizer.step()
        values = health.after_step()
    weights = [0.05 * 0.95**age / (1 - 0.95**3) for age in (2, 1, 0)]
    for module in ("encoder", "quantizer", "decoder"):
        roots = [
            sum(w * g[assigned.name].square() for w, g in zip(weights, gradients, strict=True)).sqrt().flatten()
            for assigned in assignments
            if assigned.name.startswith(module)
        ]
        assert values[f"optimizer/curvature/{module}"] == pytest.approx(float(torch.cat(roots).mean()), rel=1e-4)
    assert "optimizer/update_rms/muon" not in values and "optimizer/singular_entropy" not in values


def test_the_fraction_below_epsilon_counts_values_with_hardly_any_gradient():
    model, assignments, optimizer = build(name="adamw")
    health = UpdateStatistics(optimizer, model)
    total = sum(assigned.parameter.numel() for assigned in assignments)
    give_gradients(model)
    codebook = next(assigned.parameter for assigned in assignments if assigned.name.startswith("quantizer."))
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
        health = UpdateStatistics(optimizer, model)
        torch.manual_seed(1)
        for _ in range(2):
            give_gradients(model)
            health.before_step()
            optimizer.step()
            values.append(health.after_step())
    assert values[:2] == values[2:] and len(values[0]) == 14


def test_what_cannot_be_measured_is_left_out():
    model, _, optimizer = build()
    health = UpdateStatistics(optimizer, model)
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


def figures_after(gradients, name="vq", **more):
    """Step through gradients for each parameter name, and return the last figures and the parameters' names."""
    torch.manual_seed(0)
    model = small_tokenizer({"name": name, "dim": 4, "codebook_size": 16})
    config = parse_config(OptimizerConfig, {"lr": 1e-3, "name": "adamw", **more}, "optimizer")
    optimizer = build_optimizer(assign_parameters(model, config), config)
    health = UpdateStatistics(optimizer, model)
    parameters = dict(model.named_parameters())
    for step, gradient in enumerate(gradients, 1):
        for each, parameter in parameters.items():
            parameter.grad = gradient(each, parameter)
        if step == len(gradients):
            health.before_step()
        optimizer.step()
    return health.after_step(), parameters


@pytest.mark.parametrize("codebook_rows", ["dense", "lazy"])
def test_the_fraction_below_epsilon_is_that_of_each_module_and_of_the_codes_by_themselves(codebook_rows):
    def gradient(name, parameter):
        size = {"encoder": 1.0, "decoder": 1e-4, "quantizer": 1.0}[name.partition(".")[0].partition("_")[0]]
        values = torch.full_like(parameter, size)
        if name == "quantizer.codebook.table":
            values[:5] = 0
        return values

    values, parameters = figures_after([gradient] * 2, eps=1e-2, codebook_rows=codebook_rows)
    quantizer = sum(p.numel() for name, p in parameters.items() if name.startswith("quantizer"))
    decoder = sum(p.numel() for name, p in parameters.items() if name.startswith("decoder"))
    total = sum(p.numel() for p in parameters.values())
    below = "optimizer/below_epsilon"
    assert values[f"{below}/encoder"] == 0 and values[f"{below}/decoder"] == 1
    assert values[f"{below}/codebook"] == pytest.approx(5 / 16)
    assert values[f"{below}/quantizer"] == pytest.approx(5 * 4 / quantizer)
    assert values[below] == pytest.approx((5 * 4 + decoder) / total)


def test_without_a_table_there_are_no_codes_of_which_a_fraction_is_below_epsilon():
    values, _ = figures_after([lambda _, parameter: torch.ones_like(parameter)], name="simvq")
    assert "optimizer/below_epsilon/quantizer" in values and "optimizer/below_epsilon/codebook" not in values
    assert not any(path.endswith("std/codebook") or path.endswith("curvature/codebook") for path in values)


@pytest.mark.parametrize("second_moment", ["raw", "centred"])
@pytest.mark.parametrize(("mean", "noise"), [(1.0, 0.0), (0.0, 1.0), (2.0, 0.5)])
def test_curvature_holds_mean_and_noise_and_the_deviation_the_noise_alone(second_moment, mean, noise):
    generator = torch.Generator().manual_seed(0)

    def gradient(_, parameter):
        return mean + noise * torch.randn(parameter.shape, generator=generator)

    values, _ = figures_after([gradient] * 60, second_moment=second_moment)
    for module in ("encoder", "quantizer", "decoder"):
        root, deviation = values[f"optimizer/curvature/{module}"], values[f"optimizer/gradient_std/{module}"]
        assert root == pytest.approx(math.hypot(mean, noise), rel=0.12)
        # m wanders: beside a large mean that makes the deviation of single values rough, and their mean low
        assert deviation == pytest.approx(noise, rel=0.25, abs=0.15 if second_moment == "centred" else 0.01)


def test_the_deviation_is_that_of_what_adamw_remembers():
    drawn = []

    def gradient(name, parameter):
        drawn.append((name, torch.randn_like(parameter)))
        return drawn[-1][1]

    values, parameters = figures_after([gradient] * 4)
    weights = [[(1 - beta) * beta**age / (1 - beta**4) for age in (3, 2, 1, 0)] for beta in (0.9, 0.95)]
    deviations = []
    for name in parameters:
        if name.startswith("decoder"):
            history = torch.stack([values.double() for each, values in drawn if each == name])
            powers = (history, history.square())
            mean, square = (
                torch.tensordot(torch.tensor(w).double(), h, 1) for w, h in zip(weights, powers, strict=True)
            )
            deviations.append((square - mean**2).clamp_min(0).sqrt().flatten())
    assert values["optimizer/gradient_std/decoder"] == pytest.approx(float(torch.cat(deviations).mean()), rel=1e-4)


def test_muon_of_bare_parameters_is_read_by_what_each_of_them_gets():
    model = small_tokenizer()
    optimizer = Muon(model.parameters(), lr=1e-3)
    health = UpdateStatistics(optimizer, model)
    give_gradients(model)
    health.before_step()
    optimizer.step()
    values = health.after_step()
    assert values["optimizer/update_rms/muon"] == pytest.approx(0.2, rel=0.1)
    assert values["optimizer/update_rms/adamw"] == pytest.approx(1, rel=1e-2)
    assert 0 < values["optimizer/singular_entropy"] <= 1 + 1e-6
