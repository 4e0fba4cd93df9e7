"""Curvature on a quadratic whose Hessian is known, and in runs, which it must leave as they are."""

import math

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import nn

from runs import ADVERSARIAL, QUANTIZERS, config, logged, new_process
from vistok.train.diagnostics.curvature import Curvature, estimates
from vistok.train.diagnostics.hessian_products import momentum_signs, orthogonal_momentum, random_signs
from vistok.train.loop import train
from vistok.train.optimizer.muon import Muon

DIM, IMAGES, RATIO = 40, 8, 3.0


class Quadratic(nn.Module):
    """theta H theta / 2 and a noise in the gradient of each image that is everywhere RATIO times as large as g."""

    def __init__(self, coupling):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        signs = torch.randint(0, 2, (DIM,), generator=generator) * 2.0 - 1
        diagonal = torch.rand(DIM, generator=generator) + 0.5
        self.hessian = torch.diag(diagonal) + coupling * (torch.outer(signs, signs) - torch.eye(DIM))
        self.g = signs * (1 + torch.rand(DIM, generator=generator)) / 10
        self.theta = nn.Parameter(torch.linalg.solve(self.hessian, self.g))
        self.generator = generator

    def images(self):
        return torch.randn(IMAGES, DIM, 1, 1, generator=self.generator)

    def forward(self, images):
        noise = RATIO * self.g.abs() * images.flatten(1).mean(dim=0)
        return 0.5 * self.theta @ self.hessian @ self.theta + noise @ self.theta


def measured(quadratic, optimizer, measurements=400):
    curvature = Curvature(optimizer, quadratic, Accelerator(cpu=True), decay=0.995)
    for step in range(measurements):
        images = quadratic.images()
        if step >= 30:
            curvature.measure(step, images, IMAGES // 2, quadratic, [quadratic])
        optimizer.zero_grad()
        quadratic(images).backward()
        optimizer.step()
    return curvature


def test_a_quadratic_has_its_curvature():
    quadratic = Quadratic(coupling=0.06)
    found = measured(quadratic, torch.optim.AdamW([quadratic.theta], lr=0.0)).summarise()
    g, hessian = quadratic.g, quadratic.hessian
    trace, signs = hessian.trace(), g.sign()
    off = signs @ hessian @ signs - trace
    noise = (RATIO**2 * g.square() * hessian.diagonal()).sum()
    assert found["curvature/gradient"] == pytest.approx(float(g @ hessian @ g / (g @ g)), rel=0.15)
    assert found["curvature/noise_scale"] == pytest.approx(float(noise / (g @ hessian @ g)), rel=0.15)
    assert found["curvature/mean"] == pytest.approx(float(trace) / DIM, rel=0.05)
    assert found["curvature/ratio"] == pytest.approx(math.sqrt(trace / off), rel=0.1)
    assert found["curvature/gradient_rms"] == pytest.approx(float(g.square().mean().sqrt()), rel=0.1)
    assert "curvature/muon" not in found


def test_a_diagonal_hessian_has_no_ratio_that_counts():
    quadratic = Quadratic(coupling=0.0)
    found = measured(quadratic, torch.optim.AdamW([quadratic.theta], lr=0.0), 200).summarise()
    assert found.get("curvature/ratio", math.inf) > 4


AVERAGES = {
    "signal": 4.0,
    "gradient": 8.0,
    "noise": 40.0,
    "adamw_signal": 0.25,
    "adamw": 3.0,
    "mean": 1.0,
    "agreement": 0.4,
    "batch_agreement": 0.32,
}


def test_estimates_are_those_of_the_posts():
    assert estimates(AVERAGES) == pytest.approx(
        {"adamw": 3, "mean": 1, "gradient": 2, "noise_scale": 5, "gradient_rms": 0.5, "ratio": math.sqrt(1 * 0.5 / 2)}
    )
    for agreement, batch_agreement in [(0.9, 0.32), (-0.4, 0.32), (0.4, -0.1)]:  # above 1 by chance, or not known
        bound = estimates({**AVERAGES, "agreement": agreement, "batch_agreement": batch_agreement})
        assert bound["ratio"] == pytest.approx(math.sqrt(1 / 2))
    assert estimates(AVERAGES, 4.0)["gradient_rms"] == pytest.approx(1.0)


def test_large_gradients_of_the_beginning_do_not_outweigh_the_later_ones():
    quadratic = Quadratic(coupling=0.06)
    optimizer = torch.optim.AdamW([quadratic.theta], lr=0.0, betas=(0.5, 0.9))
    curvature = Curvature(optimizer, quadratic, Accelerator(cpu=True), decay=0.99)
    for step in range(250):
        if step == 50:  # another place, where the gradient is smaller by far, and of another direction
            quadratic.g = 1e-3 * quadratic.g.flip(0)
            quadratic.theta.data = torch.linalg.solve(quadratic.hessian, quadratic.g)
        images = quadratic.images()
        if step < 50 or step > 70:
            curvature.measure(step, images, IMAGES, quadratic, [quadratic])
        optimizer.zero_grad()
        quadratic(images).backward()
        optimizer.step()
    g, hessian = quadratic.g, quadratic.hessian
    found = curvature.summarise()
    assert found["curvature/gradient_rms"] == pytest.approx(float(g.square().mean().sqrt()), rel=0.4)
    assert found["curvature/gradient"] == pytest.approx(float(g @ hessian @ g / (g @ g)), rel=0.4)


@pytest.mark.parametrize(
    ("lost", "missing"),
    [
        ({"signal": -1.0}, {"gradient"}),
        ({"noise": -1.0}, {"noise_scale"}),
        ({"gradient": -1.0}, {"noise_scale"}),
        ({"adamw_signal": 0.0}, {"gradient_rms"}),
        ({"adamw": 0.9}, {"ratio"}),
    ],
)
def test_what_is_lost_in_its_noise_is_left_out(lost, missing):
    assert set(estimates(AVERAGES)) - set(estimates(AVERAGES | lost)) == missing


def test_a_measurement_that_is_not_finite_is_none():
    quadratic = Quadratic(coupling=0.06)
    curvature = measured(quadratic, torch.optim.AdamW([quadratic.theta], lr=0.0), 40)
    before = curvature.summarise()
    curvature.measure(0, quadratic.images() * float("nan"), IMAGES, quadratic, [quadratic])
    assert curvature.summarise() == before != {}


def test_state_is_restored(tmp_path):
    quadratic = Quadratic(coupling=0.06)
    optimizer = torch.optim.AdamW([quadratic.theta], lr=0.0)
    first = measured(quadratic, optimizer, 40)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    twin = Curvature(optimizer, quadratic, Accelerator(cpu=True), decay=0.995)
    assert twin.summarise() == {}
    twin.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    images = quadratic.images()
    for each in (first, twin):
        each.measure(7, images, IMAGES, quadratic, [quadratic])
    assert first.summarise() == twin.summarise()


def test_directions_are_of_each_optimizer_and_orthogonal_where_muon_is():
    matrix, kernel, bias = (nn.Parameter(torch.randn(shape)) for shape in ((5, 9), (4, 2, 3, 3), (7,)))
    groups = [{"params": [matrix, kernel], "use_muon": True}, {"params": [bias], "use_muon": False}]
    optimizer, parameters = Muon(groups, lr=0.0), [matrix, kernel, bias]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    states = [optimizer.state[parameter] for parameter in parameters]
    signs, steps = momentum_signs(states), orthogonal_momentum(states)
    assert signs[:2] == [None, None] and steps[2] is None
    assert torch.equal(signs[2], bias.grad.sign())
    for parameter, step in zip(parameters[:2], steps[:2], strict=True):
        left, _, right = torch.linalg.svd(parameter.grad.flatten(1), full_matrices=False)
        assert torch.dist(step.flatten(1), left @ right) < 0.1 * (left @ right).norm()


def test_random_signs_are_one_draw_a_seed_and_0_where_the_direction_is():
    like = [None, torch.tensor([1.0, 0.0, -1.0, 1.0]).repeat(200)]
    first, again, other = random_signs(like, 1), random_signs(like, 1), random_signs(like, 2)
    assert first[0] is None and torch.equal(first[1], again[1]) and not torch.equal(first[1], other[1])
    assert torch.equal(first[1].abs(), like[1].abs()) and abs(float(first[1].sum())) < 100


RUNS = {
    "residual": QUANTIZERS["residual"],
    "micro-batches": [*QUANTIZERS["ema"], "run.gradient_accumulation=2"],
    "bfloat16": [*QUANTIZERS["vq"], "run.precision=bfloat16"],
    "adversarial": [*QUANTIZERS["fsq"], *ADVERSARIAL],
    "codes alone": [*QUANTIZERS["vq"], "model.train=[quantizer, decoder]", "optimizer.name=adamw"],
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_is_measured_is_the_same_run(tmp_path, name):
    plain = train(config(tmp_path / "plain", *RUNS[name], steps=4))
    new_process()
    seen = train(config(tmp_path / "seen", *RUNS[name], "diagnostics.curvature_every=1", steps=4))
    lines = logged(tmp_path / "seen")
    assert lines[-1]["curvature/mean"] and ("curvature/muon" in lines[-1]) == (name != "codes alone")
    kept = [{key: value for key, value in line.items() if not key.startswith("curvature/")} for line in lines]
    assert kept == logged(tmp_path / "plain")
    first, second = (load_file(folder / "model.safetensors") for folder in (plain, seen))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_too_few_images_are_refused(tmp_path):
    message = r"diagnostics.curvature_every is 5, but a process has 2 images per step and needs 3: set it to 0"
    with pytest.raises(ValueError, match=message):
        train(config(tmp_path, "diagnostics.curvature_every=5", "data.batch_size=2"))
