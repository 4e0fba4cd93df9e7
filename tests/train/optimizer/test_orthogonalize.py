"""The orthogonal direction at every scale, against the singular value decomposition in float64."""

import numpy
import pytest
import torch

from vistok.train.optimizer.muon import Muon
from vistok.train.optimizer.orthogonalize import QUINTIC, orthogonalize

SCALES = [1e-38, 1e-30, 1e-20, 1e-8, 1.0, 1e8, 1.8e19, 1e30, 1e38]


def followed_by_svd(matrix):
    """Follow the polynomials on the singular values, in float64."""
    left, values, right = numpy.linalg.svd(matrix, full_matrices=False)
    values = values / numpy.sqrt((values**2).sum())
    for a, b, c in QUINTIC:
        values = a * values + b * values**3 + c * values**5
    return (left * values) @ right


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (9, 9)])
@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_gives_what_the_singular_values_say(shape, scale):
    matrix = numpy.random.default_rng(0).standard_normal(shape)
    matrix /= abs(matrix).max()
    found = orthogonalize(torch.from_numpy(matrix * scale).float()[None])[0].double().numpy()
    assert abs(found - followed_by_svd(matrix)).max() < 2e-4


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_float64_is_scaled_before_it_becomes_float32(scale):
    matrix = torch.randn(1, 6, 10, dtype=torch.float64)
    assert torch.allclose(orthogonalize(matrix / matrix.abs().max() * scale), orthogonalize(matrix), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_steps_of_two_byte_matrices_are_float32(dtype):
    matrix = torch.randn(1, 4, 4).to(dtype)
    assert torch.equal(orthogonalize(matrix), orthogonalize(matrix / matrix.abs().max()).float())
    assert orthogonalize(matrix).dtype == torch.float32


@pytest.mark.parametrize("shape", [(1, 7), (7, 1), (1, 1)])
def test_a_vector_becomes_its_direction(shape):
    vector = torch.randn(1, *shape)
    length = 1.0
    for a, b, c in QUINTIC:
        length = a * length + b * length**3 + c * length**5
    assert torch.allclose(orthogonalize(vector), length * vector / vector.norm(), atol=1e-5)


def test_zero_stays_zero_and_what_is_not_finite_spoils_its_own_matrix_alone():
    matrices = torch.randn(5, 4, 6)
    matrices[1] = 0
    matrices[2, 0, 0], matrices[3, 3, 5] = torch.inf, torch.nan
    found = orthogonalize(matrices)
    assert not found[1].any() and found[2].isnan().all() and found[3].isnan().all()
    for index in (0, 4):
        assert torch.allclose(found[index], orthogonalize(matrices[index][None])[0], atol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1.8e19, 1e30])
def test_muon_steps_as_far_whatever_the_scale_of_the_gradient(scale):
    gradient = torch.randn(8, 12)
    moved = []
    for factor in (1.0, scale):
        parameter = torch.nn.Parameter(torch.zeros(8, 12))
        optimizer = Muon([parameter], lr=0.1)
        for _ in range(2):
            parameter.grad = gradient * factor
            optimizer.step()
        moved.append(parameter.detach())
    assert torch.allclose(*moved, atol=1e-5)


def test_auto_is_float32_on_a_card_without_bfloat16(monkeypatch):
    from vistok.train.optimizer import orthogonalize as module

    for major in (7, 8):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, major=major: (major, 0))
        module._has_tensor_cores.cache_clear()
        assert module._has_tensor_cores(torch.device("cuda", 0)) == (major == 8)
    module._has_tensor_cores.cache_clear()
    assert not module._has_tensor_cores(torch.device("cpu"))
