"""AdamW's variants, each against numpy in float64 and on problems whose answer is known."""

import numpy
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from samples import small_tokenizer
from vistok.tokenizer.config import parse_config
from vistok.train.codebook.shared_codebooks import forget_rows
from vistok.train.diagnostics.noise_scale import optimizer_moments
from vistok.train.diagnostics.update_statistics import adam_moments
from vistok.train.optimizer.config import OptimizerConfig
from vistok.train.optimizer.muon import Muon
from vistok.train.optimizer.routing import assign_parameters, build_optimizer, routing_table

BETAS = (0.9, 0.95)


def adam(parameter, lazy=False, **more):
    return Muon([{"params": [parameter], "use_muon": False, "lazy": lazy}], **({"lr": 0.01, "betas": BETAS} | more))


def followed(start, gradients, lr=0.01, betas=BETAS, eps=1e-8, decay=0.0, centred=False):
    """Return where AdamW or AdaBelief comes from `start` with these gradients, in numpy's float64."""
    weight = numpy.array(start, dtype=numpy.float64)
    mean, second = numpy.zeros_like(weight), numpy.zeros_like(weight)
    for step, gradient in enumerate(gradients, 1):
        mean = betas[0] * mean + (1 - betas[0]) * gradient
        second = betas[1] * second + (1 - betas[1]) * (gradient - (mean if centred else 0)) ** 2
        weight = weight * (1 - lr * decay)
        root = numpy.sqrt(second / (1 - betas[1] ** step)) + eps
        weight = weight - lr * mean / (1 - betas[0] ** step) / root
    return weight


def step_through(parameter, optimizer, gradients):
    for gradient in gradients:
        parameter.grad = torch.as_tensor(gradient, dtype=parameter.dtype).clone()
        optimizer.step()
    return parameter.detach().double().numpy()


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("eps", [1e-8, 1e-2])
def test_dense_gradients_give_the_trajectory_of_the_formula(lazy, centred, decay, eps):
    generator = numpy.random.default_rng(0)
    start, gradients = generator.standard_normal((5, 3)), generator.standard_normal((12, 5, 3))
    parameter = nn.Parameter(torch.from_numpy(start).float())
    second_moment = "centred" if centred else "raw"
    optimizer = adam(parameter, lazy, eps=eps, weight_decay=decay, second_moment=second_moment)
    expected = followed(start, gradients, eps=eps, decay=decay, centred=centred)
    assert numpy.allclose(step_through(parameter, optimizer, gradients), expected, atol=2e-6)


@pytest.mark.parametrize("centred", [False, True])
def test_a_lazy_row_goes_as_if_the_steps_without_it_had_not_been(centred):
    generator = numpy.random.default_rng(1)
    start, gradients = generator.standard_normal((6, 4)), generator.standard_normal((40, 6, 4))
    used = generator.random((40, 6)) < numpy.array([1.0, 0.7, 0.3, 0.1, 0.03, 0.0])
    parameter = nn.Parameter(torch.from_numpy(start).float())
    optimizer = adam(parameter, True, weight_decay=0.1, second_moment="centred" if centred else "raw")
    found = step_through(parameter, optimizer, gradients * used[:, :, None])
    for row in range(6):
        own = gradients[used[:, row], row]
        assert numpy.allclose(found[row], followed(start[row], own, decay=0.1, centred=centred), atol=2e-5), row
    assert optimizer.state[parameter]["step"].flatten().tolist() == used.sum(axis=0).tolist()
    assert torch.equal(parameter[5].detach(), torch.from_numpy(start[5]).float())


@pytest.mark.parametrize("beta2", [0.95, 0.99])
def test_under_dense_adamw_a_rare_row_moves_several_times_as_far_a_hit_and_lazily_it_does_not(beta2):
    """Row 0 is used at every step and row 1 once in 300, by the same gradient: what is the way of a hit?

    Dense: m and v have faded since the last hit, the bias corrections are 1, and after the hit m falls by beta1 a step
    while sqrt(v) falls by sqrt(beta2). The way is a geometric series: 5.8 and 10.5 times the rate.
    """
    betas, period, lr = (0.9, beta2), 300, 0.01
    way = {}
    for lazy in (False, True):
        parameter = nn.Parameter(torch.zeros(2, 1))
        optimizer = adam(parameter, lazy, lr=lr, betas=betas)
        gradients = numpy.ones((4 * period, 2, 1))
        gradients[:, 1] = (numpy.arange(4 * period) % period == 0)[:, None]
        before = step_through(parameter, optimizer, gradients[: 3 * period])
        after = step_through(parameter, optimizer, gradients[3 * period :])
        busy, rare = abs(after - before)[:, 0]
        way[lazy] = rare / (busy / period)
    series = (1 - betas[0]) / (1 - beta2) ** 0.5 / (1 - betas[0] / beta2**0.5)
    left_of_second_moment = beta2**period / (1 - beta2)  # of older hits, beside the newest
    assert way[False] == pytest.approx(series, rel=0.02 + left_of_second_moment)
    assert 5 < way[False] < 15
    assert way[True] == pytest.approx(1, rel=1e-3)


def test_eps_far_above_the_gradient_makes_momentum_sgd_of_adamw():
    generator = numpy.random.default_rng(2)
    gradients = generator.standard_normal((20, 4))
    eps, lr = 1e5, 1e3
    parameter = nn.Parameter(torch.zeros(4))
    found = step_through(parameter, adam(parameter, lr=lr, eps=eps), gradients)
    weight, mean = numpy.zeros(4), numpy.zeros(4)
    for step, gradient in enumerate(gradients, 1):
        mean = 0.9 * mean + 0.1 * gradient
        weight -= lr / eps * mean / (1 - 0.9**step)
    assert numpy.allclose(found, weight, rtol=1e-3)


@pytest.mark.parametrize("eps", [1e-8, 0.3, 10.0])
def test_a_steady_gradient_moves_by_the_soft_sign_that_eps_makes(eps):
    gradient = numpy.array([-2.0, -0.3, 0.01, 1.0])
    parameter = nn.Parameter(torch.zeros(4))
    found = step_through(parameter, adam(parameter, lr=0.1, eps=eps), [gradient] * 7)
    assert numpy.allclose(found, -0.7 * gradient / (abs(gradient) + eps), atol=1e-6)


def test_centred_tells_a_steady_gradient_from_a_noisy_one_and_raw_hardly_does():
    generator = numpy.random.default_rng(3)
    noisy = 1 + 3 * generator.standard_normal(400)
    steady = 1 + 0.1 * generator.standard_normal(400)
    way = {}
    for second_moment in ("raw", "centred"):
        parameter = nn.Parameter(torch.zeros(2))
        optimizer = adam(parameter, lr=1.0, second_moment=second_moment)
        quiet, loud = -step_through(parameter, optimizer, numpy.stack([steady, noisy], axis=1))
        way[second_moment] = quiet / loud
    # raw divides by sqrt(1 + sigma^2) and centred by sigma, both of means of about 1
    assert way["raw"] == pytest.approx(10**0.5, rel=0.35)
    assert way["centred"] == pytest.approx(30, rel=0.35)


def config(**more):
    return parse_config(OptimizerConfig, {"lr": 1e-3, **more}, "optimizer")


def tokenizer():
    torch.manual_seed(0)
    return small_tokenizer({"name": "vq", "dim": 4, "codebook_size": 16})


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_the_config_reaches_every_group(name):
    model, settings = tokenizer(), config(name=name, eps=1e-5, second_moment="centred", codebook_rows="lazy")
    optimizer = build_optimizer(assign_parameters(model, settings), settings)
    names = {parameter: each for each, parameter in model.named_parameters()}
    assert {group["eps"] for group in optimizer.param_groups} == {1e-5}
    assert {group["second_moment"] for group in optimizer.param_groups} == {"centred"}
    lazy = [names[p] for group in optimizer.param_groups if group["lazy"] for p in group["params"]]
    assert lazy == ["quantizer.codebook.table"]
    held = sorted(names[p] for group in optimizer.param_groups for p in group["params"])
    assert held == sorted(names.values())
    assert ("AdamW, lazy", 1, 64) in [row[1:] for row in routing_table(assign_parameters(model, settings))]


@pytest.mark.parametrize(
    "quantizer",
    [
        {"name": "fsq", "levels": [5, 5, 5]},
        {"name": "ema", "dim": 4, "codebook_size": 16},
        {"name": "simvq", "dim": 4, "codebook_size": 16},
    ],
    ids=lambda values: values["name"],
)
def test_lazy_rows_need_a_table_that_is_trained(quantizer):
    with pytest.raises(
        ValueError, match="codebook_rows is lazy, but AdamW trains no codebook by its rows here: use dense"
    ):
        assign_parameters(small_tokenizer(quantizer), config(codebook_rows="lazy"))


@pytest.mark.parametrize("eps", [0, -1e-8])
def test_eps_must_be_above_zero(eps):
    with pytest.raises(ValueError, match="optimizer.eps"):
        config(eps=eps)


def move(model, optimizer, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    table = model.quantizer.codebook.table
    table.grad *= (torch.rand(len(table), 1, generator=generator) < 0.3).float()
    optimizer.step()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("second_moment", ["raw", "centred"])
def test_lazy_rows_are_restored_exactly(tmp_path, dtype, second_moment):
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(300, 8, 2, generator=generator).to(dtype)
    gradients[:, ::2] *= (torch.rand(300, 4, 1, generator=generator) < 0.3).to(dtype)

    def build():
        parameter = nn.Parameter(torch.zeros(8, 2, dtype=dtype))
        return parameter, adam(parameter, True, second_moment=second_moment)

    straight, optimizer = build()
    step_through(straight, optimizer, gradients)
    half, optimizer = build()
    step_through(half, optimizer, gradients[:290])
    torch.save([half.detach(), optimizer.state_dict()], tmp_path / "state.pt")
    again, optimizer = build()
    weights, state = torch.load(tmp_path / "state.pt", weights_only=True)
    again.data.copy_(weights)
    optimizer.load_state_dict(state)
    step_through(again, optimizer, gradients[290:])
    assert torch.equal(straight, again)
    assert optimizer.state[again]["step"][1] == 300  # which bfloat16 could not hold beside 301


def test_revival_forgets_all_of_a_row_and_nothing_of_the_others():
    settings = config(codebook_rows="lazy")
    model = tokenizer()
    optimizer = Accelerator(cpu=True).prepare(build_optimizer(assign_parameters(model, settings), settings))
    for seed in range(8):
        move(model, optimizer, seed)
    table = model.quantizer.codebook.table
    before = {name: value.clone() for name, value in optimizer.state[table].items()}
    rows = torch.tensor([2, 11])
    forget_rows(optimizer, table, rows)
    kept = [row for row in range(16) if row not in (2, 11)]
    assert before.keys() == {"exp_avg", "exp_avg_sq", "step"}
    for name, value in optimizer.state[table].items():
        assert not value[rows].any() and torch.equal(value[kept], before[name][kept]), name


def test_a_revived_row_starts_like_a_new_one():
    parameter = nn.Parameter(torch.zeros(3, 2))
    optimizer = adam(parameter, True, lr=1.0)
    step_through(parameter, optimizer, numpy.random.default_rng(0).standard_normal((9, 3, 2)))
    forget_rows(optimizer, parameter, torch.tensor([1]))
    before = parameter.detach().clone()
    step_through(parameter, optimizer, [numpy.full((3, 2), 0.5)])
    assert torch.allclose((parameter.detach() - before)[1], torch.full((2,), -1.0))  # the sign of a first gradient


def test_a_plain_parameters_count_of_steps_is_not_forgotten():
    parameter = nn.Parameter(torch.zeros(3, 2))
    optimizer = adam(parameter)
    step_through(parameter, optimizer, [numpy.ones((3, 2))] * 4)
    forget_rows(optimizer, parameter, torch.tensor([1]))
    assert float(optimizer.state[parameter]["step"]) == 4
    assert not optimizer.state[parameter]["exp_avg"][1].any() and optimizer.state[parameter]["exp_avg"][0].all()


def test_the_noise_scale_leaves_lazy_rows_out():
    settings = config(codebook_rows="lazy")
    model = tokenizer()
    optimizer = build_optimizer(assign_parameters(model, settings), settings)
    for seed in range(4):
        move(model, optimizer, seed)
    found = optimizer_moments(optimizer, model, 8)
    model.quantizer.codebook.table.grad *= 1e6
    assert found == optimizer_moments(optimizer, model, 8)


def test_a_gradient_that_is_not_finite_spoils_its_row_alone():
    parameter = nn.Parameter(torch.zeros(3, 2))
    gradient = numpy.zeros((3, 2))
    gradient[1, 0], gradient[2] = numpy.nan, 1
    found = step_through(parameter, adam(parameter, True), [gradient])
    assert not found[0].any() and numpy.isnan(found[1, 0]) and numpy.isfinite(found[2]).all()


@pytest.mark.parametrize(("noise", "follows"), [(0.0, "curvature"), (100.0, "noise")])
def test_the_root_of_the_second_moment_is_the_curvature_only_where_there_is_no_noise(noise, follows):
    """Gradients H (w - w*) about a minimum, w - w* being standard normal, with noise that grows as H falls."""
    generator = numpy.random.default_rng(4)
    curvature = numpy.array([1.0, 2.0, 4.0, 8.0])
    scale = noise / curvature
    gradients = curvature * generator.standard_normal((3000, 4)) + scale * generator.standard_normal((3000, 4))
    parameter = nn.Parameter(torch.zeros(4))
    optimizer = adam(parameter, lr=0.0, betas=(0.9, 0.999))
    step_through(parameter, optimizer, gradients)
    root, _, _ = adam_moments(optimizer)[parameter]
    expected = curvature if follows == "curvature" else scale
    found = root.double().numpy()
    assert numpy.allclose(found / found[0], expected / expected[0], rtol=0.15 if follows == "curvature" else 0.25)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU to wait for")
@pytest.mark.parametrize("second_moment", ["raw", "centred"])
def test_no_step_waits_for_the_device(second_moment):
    table, matrix, vector = (nn.Parameter(torch.zeros(shape, device="cuda")) for shape in [(8, 2), (4, 4), (4,)])
    groups = [{"params": [table], "use_muon": False, "lazy": True}, {"params": [matrix, vector]}]
    optimizer = Muon(groups, lr=0.1, second_moment=second_moment)
    for parameter in (table, matrix, vector):
        parameter.grad = torch.ones_like(parameter)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(2):
            optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
