"""Muon as the trainer uses it: what it does to matrices, and that timm's own is the same but for rounding."""

import functools

import pytest
import timm.optim.muon as timm_muon
import torch
from torch import nn

from vistok.train.optimizer.muon import SCALINGS, Muon, adamw_update_rms
from vistok.train.optimizer.orthogonalize import QUINTIC, orthogonalize


@pytest.mark.parametrize("shape", [(1, 16, 40), (1, 40, 16), (2, 24, 24), (3, 8, 20)])
def test_gram_iteration_equals_timms_in_float64(shape):
    torch.manual_seed(0)
    matrices = torch.randn(shape, dtype=torch.float64)
    theirs = timm_muon.zeropower_via_newtonschulz(matrices, 5, QUINTIC, dtype=torch.float64)
    assert torch.allclose(orthogonalize(matrices), theirs, atol=1e-9)


def test_coefficients_are_those_of_timm():
    assert list(QUINTIC) == timm_muon._COEFFICIENTS["quintic"]


def test_a_batch_is_its_matrices_one_by_one():
    matrices = torch.randn(4, 10, 30) * torch.tensor([1e-6, 1.0, 1e3, 0.0])[:, None, None]
    batch = orthogonalize(matrices)
    for matrix, result in zip(matrices, batch, strict=True):
        assert torch.allclose(orthogonalize(matrix[None])[0], result, atol=1e-5)
    assert not batch[3].any()


def test_float32_is_close_to_float64_for_ill_conditioned_matrices():
    torch.manual_seed(0)
    left, right = torch.linalg.qr(torch.randn(32, 32))[0], torch.linalg.qr(torch.randn(80, 80))[0][:32]
    matrix = (left @ torch.diag(torch.logspace(0, -4, 32)) @ right)[None]
    exact = orthogonalize(matrix.double())
    assert (orthogonalize(matrix).double() - exact).abs().max() < 1e-3


def test_singular_values_become_one():
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalize(torch.randn(1, 20, 60)))
    assert values.min() > 0.6 and values.max() < 1.3


SHAPES = [(8, 6, 3, 3), (8, 6, 3, 3), (6, 54), (54, 6), (6, 54), (12, 12), (3, 2, 2, 2)]


@pytest.mark.parametrize("scaling", ["match_rms_adamw", "original", "rms_to_rms"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_whole_trajectory_is_timms(monkeypatch, scaling, memory_format):
    exact = functools.partial(timm_muon.zeropower_via_newtonschulz, dtype=torch.float32)
    monkeypatch.setattr(timm_muon, "zeropower_via_newtonschulz", lambda *args, dtype=None, **more: exact(*args, **more))
    torch.manual_seed(0)
    starts = [torch.randn(shape) for shape in [*SHAPES, (5,)]]
    ours = [nn.Parameter(_laid_out(start, memory_format)) for start in starts]
    theirs = [nn.Parameter(start.clone()) for start in starts]
    options = {"lr": 0.05, "betas": (0.9, 0.95), "momentum": 0.9, "weight_decay": 0.1, "eps": 1e-8}

    def groups(parameters):
        return [{"params": parameters[:-1], "use_muon": True}, {"params": parameters[-1:], "use_muon": False}]

    optimizer = Muon(groups(ours), scaling=scaling, **options)
    matrices, rest = groups(theirs)
    reference = timm_muon.Muon([matrices | {"nesterov": True}, rest], adjust_lr_fn=scaling, **options)
    for _ in range(4):
        for our, their in zip(ours, theirs, strict=True):
            their.grad = torch.randn(their.shape)
            our.grad = _laid_out(their.grad, memory_format)
        optimizer.step()
        reference.step()
    for our, their in zip(ours, theirs, strict=True):
        assert torch.allclose(our, their, atol=2e-5)


def _laid_out(tensor, memory_format):
    return tensor.clone(memory_format=memory_format if tensor.ndim == 4 else torch.contiguous_format)


@pytest.mark.parametrize(("rows", "columns"), [(64, 576), (576, 64), (100, 100)])
def test_scalings_are_those_of_timm_at_the_usual_beta1(rows, columns):
    for name, scaling in SCALINGS.items():
        assert scaling(rows, columns, 0.9) == pytest.approx(timm_muon.get_lr_scale(torch.Size((rows, columns)), name))


@pytest.mark.parametrize("scaling", ["original", "match_rms_adamw"])
@pytest.mark.parametrize("shape", [(48, 24), (24, 48)])
def test_matrices_move_as_far_as_with_torchs_muon(scaling, shape):
    ours, theirs = nn.Parameter(torch.zeros(shape)), nn.Parameter(torch.zeros(shape))
    ours.grad = torch.randn(shape)
    theirs.grad = ours.grad.clone()
    Muon([{"params": [ours], "use_muon": True}], lr=0.1, scaling=scaling).step()
    torch.optim.Muon([theirs], lr=0.1, adjust_lr_fn=scaling, weight_decay=0.0).step()
    # torch's coefficients leave singular values between 0.7 and 1.2
    assert float(ours.detach().norm() / theirs.detach().norm()) == pytest.approx(1, abs=0.2)


def one_step(weight, gradient, **options):
    parameter = nn.Parameter(weight.clone())
    parameter.grad = gradient.clone()
    Muon([{"params": [parameter], "use_muon": True}], lr=0.1, **options).step()
    return parameter.detach(), parameter.grad


@pytest.mark.parametrize(
    ("scaling", "factor"),
    [("match_rms_adamw", 0.2 * (6 * 9) ** 0.5), ("original", 1.0), ("rms_to_rms", (8 / (6 * 9)) ** 0.5)],
)
def test_convolutions_are_flattened_to_out_by_the_rest_and_scaled_from_that_shape(scaling, factor):
    torch.manual_seed(0)
    weight, gradient = torch.randn(8, 6, 3, 3), torch.randn(8, 6, 3, 3)
    after, _ = one_step(weight, gradient, scaling=scaling, rate=3.0)
    direction = orthogonalize(gradient.flatten(1)[None])[0]  # the momentum of a first step is along the gradient
    expected = weight - 0.1 * 3.0 * factor * direction.view_as(weight)
    assert torch.allclose(after, expected, atol=1e-5)


@pytest.mark.parametrize("beta1", [0.9, 0.5])
@pytest.mark.parametrize("beta2", [0.95, 0.99])
def test_on_noise_the_updates_are_as_large_as_adamws(beta1, beta2):
    shape, lr = (64, 128), 1e-3
    ours, theirs = nn.Parameter(torch.zeros(shape)), nn.Parameter(torch.zeros(shape))
    optimizer = Muon([{"params": [ours], "use_muon": True}], lr=lr, betas=(beta1, beta2))
    reference = torch.optim.AdamW([theirs], lr=lr, betas=(beta1, beta2), weight_decay=0.0)
    rms = []
    for _ in range(100):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        before = ours.detach().clone(), theirs.detach().clone()
        optimizer.step()
        reference.step()
        changes = [after.detach() - old for after, old in zip((ours, theirs), before, strict=True)]
        rms.append([float(change.square().mean().sqrt()) / lr for change in changes])
    muon, adamw = torch.tensor(rms[-40:]).mean(dim=0).tolist()
    assert muon == pytest.approx(adamw, rel=0.2)
    assert muon == pytest.approx(adamw_update_rms(beta1), rel=0.05)
    assert adamw == pytest.approx(((1 - beta1) / (1 + beta1)) ** 0.5, rel=0.06)  # the mean field


def test_the_constant_at_the_usual_beta1_is_the_fields():
    assert adamw_update_rms(0.9) == pytest.approx(0.2)


def test_gradients_are_left_as_they_were():
    matrix, vector = nn.Parameter(torch.randn(4, 5)), nn.Parameter(torch.randn(5))
    gradients = {matrix: torch.randn(4, 5), vector: torch.randn(5)}
    optimizer = Muon([{"params": [matrix], "use_muon": True}, {"params": [vector]}], lr=0.1, weight_decay=0.1)
    for _ in range(3):
        for parameter, gradient in gradients.items():
            parameter.grad = gradient.clone()
        optimizer.step()
        assert all(torch.equal(parameter.grad, gradient) for parameter, gradient in gradients.items())


def test_parameters_without_a_gradient_do_not_decay():
    frozen, vector, moved = (nn.Parameter(torch.ones(shape)) for shape in [(4, 5), (5,), (4, 5)])
    groups = [{"params": [frozen, moved], "use_muon": True}, {"params": [vector]}]
    optimizer = Muon(groups, lr=0.1, weight_decay=0.1)
    moved.grad = torch.zeros(4, 5)
    optimizer.step()
    assert frozen.eq(1).all() and vector.eq(1).all() and not optimizer.state[frozen] and not optimizer.state[vector]
    assert torch.allclose(moved, torch.full((4, 5), 0.99))  # no gradient but decay


def test_state_is_restored_exactly():
    def build():
        torch.manual_seed(0)
        parameters = [nn.Parameter(torch.randn(shape)) for shape in [(4, 6), (4, 6), (3,)]]
        groups = [{"params": parameters[:2], "use_muon": True}, {"params": parameters[2:]}]
        return parameters, Muon(groups, lr=0.1)

    def move(parameters, optimizer, seed):
        generator = torch.Generator().manual_seed(seed)
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()

    straight, optimizer = build()
    for seed in range(4):
        move(straight, optimizer, seed)
    halves, optimizer = build()
    for seed in range(2):
        move(halves, optimizer, seed)
    state = optimizer.state_dict()
    _, optimizer = build()
    optimizer.param_groups[0]["params"], optimizer.param_groups[1]["params"] = halves[:2], halves[2:]
    optimizer.load_state_dict(state)
    for seed in range(2, 4):
        move(halves, optimizer, seed)
    assert all(torch.equal(a, b) for a, b in zip(straight, halves, strict=True))


def test_a_closure_gives_the_loss():
    parameter = nn.Parameter(torch.randn(4, 5))
    optimizer = Muon([{"params": [parameter], "use_muon": True}], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = parameter.square().sum()
        loss.backward()
        return loss.detach()

    first = optimizer.step(closure)
    assert float(optimizer.step(closure)) < float(first)
