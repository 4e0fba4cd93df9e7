"""Hessian-vector products by differences: against a known Hessian, against autograd, and against gradients of a backward."""

import copy

import pytest
import torch
from torch import nn

from quantizer_table import EVERY, name_of
from samples import small_tokenizer
from vistok.train.diagnostics.hessian_products import STEP, HessianProducts, dot


def directions(parameters, count=2):
    return [[torch.randn_like(parameter) for parameter in parameters] for _ in range(count)]


def test_a_quadratic_has_its_hessian():
    root = torch.randn(6, 6, dtype=torch.float64)
    hessian, theta = root @ root.T, nn.Parameter(torch.randn(6, dtype=torch.float64))
    module = nn.Module()
    module.register_parameter("theta", theta)

    def loss(images):  # a mean over images of one pixel
        return 0.5 * theta @ hessian @ theta + (images.mean() * theta).sum()

    v, w = (torch.randn(6, dtype=torch.float64) for _ in range(2))
    with HessianProducts([module], [theta], loss, chunk=2) as field:
        found = field.products(torch.randn(5, 1, 1, 1), [v], [[w], [v]])
    assert found.tolist() == pytest.approx([float(w @ hessian @ v), float(v @ hessian @ v)], rel=1e-9)


def test_a_smooth_network_has_the_hessian_of_autograd():
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    parameters, images = list(net.parameters()), torch.randn(7, 4, dtype=torch.float64)

    def loss(some):
        return net(some).square().mean()

    (v, w) = directions(parameters)
    gradients = torch.autograd.grad(loss(images), parameters, create_graph=True)
    product = torch.autograd.grad(dot(gradients, v), parameters)
    with HessianProducts([net], parameters, loss, chunk=3) as field:
        assert all(map(torch.allclose, field.gradient(images), gradients))
        found = field.products(images, v, [w, v])
    assert found.tolist() == pytest.approx([float(dot(product, w)), float(dot(product, v))], rel=1e-3, abs=1e-6)


def test_a_direction_may_leave_parameters_where_they_are():
    a, b = (nn.Parameter(torch.randn(3, dtype=torch.float64)) for _ in range(2))
    module = nn.ParameterList([a, b])
    with HessianProducts([module], [a, b], lambda _: (a * b).sum() + a.square().sum(), chunk=1) as field:
        v = torch.randn(3, dtype=torch.float64)
        found = field.products(torch.zeros(1, 1, 1, 1), [v, None], [[v, None], [None, v]])
    assert found.tolist() == pytest.approx([2 * float(v @ v), float(v @ v)], rel=1e-8)


def test_a_direction_of_zeros_gives_zero():
    a = nn.Parameter(torch.randn(3))
    with HessianProducts([nn.ParameterList([a])], [a], lambda _: a.square().sum(), chunk=1) as field:
        assert field.products(torch.zeros(1, 1, 1, 1), [torch.zeros(3)], [[torch.ones(3)]]).tolist() == [0.0]


@pytest.mark.parametrize("values", EVERY, ids=name_of)
def test_every_quantizer_has_the_differences_of_its_own_gradient_and_no_trace(values):
    model = small_tokenizer(dict(values)).train()
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def loss_of(network, some):
        output = network(some)
        return (output.pixels - some).square().mean() + sum(output.losses.values())

    loss_of(model, images).backward()
    before = copy.deepcopy(model)
    gradients = [None if p.grad is None else p.grad.clone() for p in parameters]
    (v,) = directions(parameters, 1)
    random = torch.get_rng_state()
    with HessianProducts([model], parameters, lambda some: loss_of(model, some), chunk=2) as field:
        found = float(field.products(images, v, [v]))
    assert torch.equal(torch.get_rng_state(), random)
    for (name, tensor), kept in zip(
        model.state_dict(keep_vars=True).items(), before.state_dict().values(), strict=True
    ):
        assert torch.equal(tensor, kept), name
    for name, buffer in before.named_buffers():
        assert torch.equal(model.get_buffer(name), buffer), name
    assert all(
        p.grad is None if g is None else torch.equal(p.grad, g) for p, g in zip(parameters, gradients, strict=True)
    )

    # Rounded as in the field, for where a token changes the last bit of the size decides.
    size = (STEP * dot(parameters, parameters).sqrt() / dot(v, v).sqrt()).detach()
    sides = []
    for sign in (1, -1):  # in the same memory, for elsewhere sums may round otherwise and a token change
        model.load_state_dict(before.state_dict())
        model.zero_grad()
        with torch.no_grad():
            for parameter, step in zip(parameters, v, strict=True):
                parameter.add_(sign * size * step)
        torch.set_rng_state(random)
        loss_of(model, images).backward()
        sides.append([torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters])
    expected = float((dot(sides[0], v) - dot(sides[1], v)) / (2 * size))
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-5 * float(dot(sides[0], sides[0])))
