"""Soft assignment: its temperature, its chunks, and index back-propagation against dense arithmetic."""

import pytest
import torch
from einops import rearrange

from vistok.tokenizer.quantizers import build_quantizer, entropy, set_training_step
from vistok.tokenizer.quantizers.base import Quantizer
from vistok.tokenizer.quantizers.vector.soft_assignment import SoftAssignmentConfig, mixture


def test_the_assignment_sharpens_over_the_steps_of_a_run():
    soft = {"temperature": 1.0, "final_temperature": 0.01, "anneal_steps": 10}
    values = {"name": "vq", "dim": 5, "codebook_size": 30}
    annealed = build_quantizer({**values, "soft": soft})
    latent, upstream = torch.randn(1, 5, 3, 3), torch.randn(1, 5, 3, 3)
    set_training_step(annealed, 5)
    fixed = build_quantizer({**values, "soft": {"temperature": 0.1}})
    fixed.codebook.load_state_dict(annealed.codebook.state_dict())
    found, expected = (
        torch.autograd.grad((quantizer(latent).latent * upstream).sum(), quantizer.codebook.table)[0]
        for quantizer in (annealed, fixed)
    )
    assert expected.any() and torch.allclose(found, expected, atol=1e-6)


def test_temperature_changes_geometrically_over_its_steps():
    config = SoftAssignmentConfig(temperature=1.0, final_temperature=0.01, anneal_steps=10)
    assert [config.temperature_at(step) for step in (0, 5, 10, 99)] == pytest.approx([1.0, 0.1, 0.01, 0.01])
    assert SoftAssignmentConfig(temperature=0.3).temperature_at(7) == 0.3


def test_chunks_change_nothing(monkeypatch):
    vectors, codes = torch.randn(50, 4, requires_grad=True), torch.randn(20, 4, requires_grad=True)
    results = []
    for at_once in (20, 140, 10**6):
        monkeypatch.setattr(entropy, "SCORES_AT_ONCE", at_once)
        mixed = mixture(vectors, codes, lambda z, c: z @ c.T, 2, 0.7)
        results.append([mixed, *torch.autograd.grad(mixed.square().sum(), (vectors, codes))])
    for other in results[1:]:
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(results[0], other, strict=True))


def test_ibq_is_index_back_propagation_over_dense_logits():
    torch.manual_seed(0)
    quantizer = build_quantizer({"name": "ibq", "dim": 5, "codebook_size": 30})
    latent = torch.randn(2, 5, 3, 3, requires_grad=True)
    upstream = torch.randn(2, 5, 3, 3)
    result = quantizer(latent)
    losses = sum(result.losses[name] for name in ("assignment", "codebook", "commitment"))
    ((result.latent * upstream).sum() + losses).backward()

    vectors = rearrange(latent.detach(), "b d y x -> (b y x) d").double().requires_grad_()
    table = quantizer.codebook.table.detach().double().requires_grad_()
    p = torch.softmax(vectors @ table.T, dim=1)
    hard = torch.nn.functional.one_hot(p.argmax(dim=1), 30).double()
    index = hard + p - p.detach()
    q, plain = index @ table, hard @ table
    assert torch.equal(result.tokens.flatten(), p.argmax(dim=1)), "nearest is the max dot product"
    expected = (
        ((q - vectors) ** 2).mean()
        + ((plain.detach() - vectors) ** 2).mean()
        + ((plain - vectors.detach()) ** 2).mean()
    )
    assert torch.allclose(losses.double(), expected, atol=1e-5)
    ((q * rearrange(upstream, "b d y x -> (b y x) d")).sum() + expected).backward()
    # A dense index carries the gradient of p sg[codes] + onehot codes: codes feel q both ways, latents through p alone.
    assert torch.allclose(quantizer.codebook.table.grad.double(), table.grad, atol=1e-4)
    assert torch.allclose(rearrange(latent.grad, "b d y x -> (b y x) d").double(), vectors.grad, atol=1e-4)
    assert (quantizer.codebook.table.grad.abs().sum(dim=1) > 0).all(), "every code gets a gradient"


def test_soft_assignment_moves_every_code_and_leaves_the_latent_its_gradient():
    torch.manual_seed(0)
    values = {"name": "vq", "dim": 5, "codebook_size": 30, "gradient": "rotation"}
    hard, with_soft = build_quantizer(values), build_quantizer({**values, "soft": {"temperature": 1.0}})
    with_soft.codebook.load_state_dict(hard.codebook.state_dict())
    upstream, grads = torch.randn(1, 5, 3, 3), []
    start = torch.randn(1, 5, 3, 3)
    for quantizer in (hard, with_soft):
        latent = start.clone().requires_grad_()
        (quantizer(latent).latent * upstream).sum().backward()
        grads.append(latent.grad)
    assert torch.equal(*grads)
    assert hard.codebook.table.grad is None
    assert (with_soft.codebook.table.grad.abs().sum(dim=1) > 0).all()


INNER = {"name": "vq", "dim": 2, "codebook_size": 4, "soft": {"final_temperature": 0.1, "anneal_steps": 5}}
NESTED = {
    "vq": INNER,
    "grouped": {"name": "grouped", "quantizer": INNER, "groups": 3},
    "shared": {"name": "grouped", "quantizer": INNER, "groups": 3, "shared": True},
    "multiscale": {"name": "multiscale", "quantizer": {"name": "vq", "dim": 2, "codebook_size": 4}, "scales": [1, 2]},
    "residual": {"name": "residual", "quantizer": {"name": "vq", "dim": 2, "codebook_size": 4}, "depth": 2},
}


@pytest.mark.parametrize("name", NESTED)
def test_every_quantizer_inside_is_told_the_step_and_no_forward_moves_it(name):
    quantizer = build_quantizer(NESTED[name])
    set_training_step(torch.nn.Sequential(quantizer), 3)
    inside = [module for module in quantizer.modules() if isinstance(module, Quantizer)]
    quantizer(torch.randn(1, quantizer.dim, 2, 2, requires_grad=True))
    assert inside and [module.training_step for module in inside] == [3] * len(inside)
    assert not any("step" in key for key in quantizer.state_dict())


def test_a_step_below_zero_is_refused():
    with pytest.raises(ValueError, match="training step is -1, but steps taken are 0 or more"):
        set_training_step(build_quantizer(INNER), -1)
