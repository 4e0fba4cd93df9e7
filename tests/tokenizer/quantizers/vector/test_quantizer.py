"""What vector quantizers learn from: losses, projections, moving averages."""

import pytest
import torch
from einops import rearrange

from vistok.tokenizer.quantizers import build_quantizer


def build(name, **more):
    torch.manual_seed(0)
    return build_quantizer({"name": name, "dim": 5, "codebook_size": 30, **more})


@pytest.mark.parametrize("gradient", ["straight_through", "rotation"])
def test_losses_are_those_of_the_paper_and_reach_the_right_side(gradient):
    quantizer = build("vq", gradient=gradient)
    latent = torch.randn(2, 5, 3, 3, requires_grad=True)
    result = quantizer(latent)
    chosen = quantizer.codebook.table[result.tokens.flatten()]
    vectors = rearrange(latent, "b d y x -> (b y x) d")
    expected = (vectors - chosen).square().mean()
    assert torch.allclose(result.losses["codebook"], expected) and torch.allclose(result.losses["commitment"], expected)

    table = quantizer.codebook.table
    assert torch.autograd.grad(result.losses["commitment"], table, allow_unused=True, retain_graph=True) == (None,)
    assert torch.autograd.grad(result.losses["codebook"], latent, allow_unused=True, retain_graph=True) == (None,)
    pull = torch.autograd.grad(result.losses["codebook"], table, retain_graph=True)[0]
    assert pull.abs().sum() > 0
    push = torch.autograd.grad(result.losses["commitment"], latent)[0]
    assert torch.allclose(rearrange(push, "b d y x -> (b y x) d"), 2 * (vectors - chosen) / vectors.numel(), atol=1e-7)


def test_commitment_by_length_is_its_closed_form_and_its_weight_a_constant():
    quantizer = build("vq", commitment_by_length=True, initial_scale=0.5)
    lengths = torch.tensor([0.0, 1e-3, 0.1, 1.0, 5.0, 1e4])
    rows = torch.nn.functional.normalize(torch.randn(6, 5), dim=1) * lengths[:, None]
    latent = rows.T.reshape(1, 5, 2, 3).clone().requires_grad_()
    result = quantizer(latent)
    codes = quantizer.codes().detach()[result.tokens.flatten()]
    (found,) = torch.autograd.grad(result.losses["commitment"], latent)
    total, gradient = 0.0, torch.zeros(6, 5, dtype=torch.float64)
    for row, (z, q) in enumerate(zip(rows.double().tolist(), codes.double().tolist(), strict=True)):
        long_z, long_q = (sum(x * x for x in v) ** 0.5 for v in (z, q))
        weight = min(1.0, max(1e-4, (long_q / long_z) ** 2)) if long_z else 1.0
        weight = 1 / weight
        error = torch.tensor(z, dtype=torch.float64) - torch.tensor(q, dtype=torch.float64)
        total += weight * float(error.square().sum()) / 30
        gradient[row] = weight * 2 * error / 30
    assert float(result.losses["commitment"].detach()) == pytest.approx(total, rel=1e-5)
    assert torch.allclose(rearrange(found, "1 d y x -> (y x) d").double(), gradient, rtol=1e-4)


def test_commitment_by_length_changes_nothing_where_codes_are_longer():
    plain, weighed = build("vq"), build("vq", commitment_by_length=True)
    weighed.load_state_dict(plain.state_dict())
    latent = torch.randn(1, 5, 4, 4) * 0.01
    assert torch.equal(plain(latent).losses["commitment"], weighed(latent).losses["commitment"])


def test_moving_average_has_no_codebook_loss():
    assert set(build("ema")(torch.randn(1, 5, 2, 2)).losses) == {"commitment"}


def test_simvq_step_moves_every_code_as_the_formula_says():
    # dE = -eta Q Q^T G for the projection alone (https://kexue.fm/archives/10519), G the gradient by the codes.
    quantizer = build("simvq", bias=False)
    latent = torch.randn(1, 5, 1, 3)
    codes = quantizer.codes()
    codes.retain_grad()
    before = codes.detach().clone()
    indices = quantizer(latent).tokens.flatten()
    vectors = rearrange(latent, "b d y x -> (b y x) d")
    by_codes = torch.zeros_like(before)
    by_codes.index_add_(0, indices, 2 * (before[indices] - vectors) / vectors.numel())
    quantizer(latent).losses["codebook"].backward()
    rate = 0.1
    with torch.no_grad():
        weight = quantizer.codebook.projection.linear.weight
        weight -= rate * weight.grad
    moved = quantizer.codes().detach() - before
    basis = quantizer.codebook.basis
    assert torch.allclose(moved, -rate * basis @ basis.T @ by_codes, atol=1e-6)
    assert (moved.abs().sum(dim=1) > 0).all(), "a code that was not selected stayed where it was"


def test_simvq_basis_is_saved_but_not_trained():
    quantizer = build("simvq")
    assert "codebook.basis" in quantizer.state_dict()
    assert "codebook.basis" not in dict(quantizer.named_parameters())


def test_moving_average_follows_its_formula():
    quantizer = build("ema", decay=0.9)
    book = quantizer.codebook
    counts, sums = book.counts.double().clone(), book.sums.double().clone()
    latent = torch.randn(2, 5, 4, 4)
    result = quantizer(latent)
    vectors = rearrange(latent, "b d y x -> (b y x) d").double()
    for code in range(30):
        members = vectors[result.tokens.flatten() == code]
        counts[code] = 0.9 * counts[code] + 0.1 * len(members)
        sums[code] = 0.9 * sums[code] + 0.1 * members.sum(dim=0)
    assert torch.allclose(book.table.double(), sums / counts[:, None], atol=1e-5)


@pytest.mark.parametrize("decay", [0.0, 0.99])
def test_moving_average_over_thousands_of_forwards_with_codes_that_are_never_or_rarely_used(decay):
    draw = torch.Generator().manual_seed(0)
    book = build_quantizer({"name": "ema", "dim": 3, "codebook_size": 4, "decay": decay}).codebook
    start = book.table.clone()
    # The reference keeps no count but the weight of each code against its newest vector.
    table, weight = start.double().clone(), torch.ones(4, dtype=torch.float64)
    for step in range(2600):
        indices = torch.tensor([0, 1, 1, 0, 2 if step % 1300 == 1299 else 1])
        vectors = torch.randn(5, 3, generator=draw) + 4
        book.observe(vectors, indices)
        for code in range(4):
            members = vectors[indices == code].double()
            fresh = (1 - decay) * len(members)
            if len(members):
                old = decay * weight[code]
                table[code] = (old * table[code] + fresh * members.mean(dim=0)) / (old + fresh)
            weight[code] = decay * weight[code] + fresh
    assert torch.equal(book.table[3], start[3]), "never used: it stays where it is, bit for bit"
    assert torch.allclose(book.table.double(), table, rtol=1e-4)
    if decay:
        assert torch.allclose(book.sums[3] / book.counts[3], start[3], rtol=1e-3)


@pytest.mark.parametrize("still", ["eval", "no_grad"])
def test_moving_average_does_not_move_outside_training(still):
    quantizer = build("ema")
    before = quantizer.codebook.table.clone()
    if still == "eval":
        quantizer.eval()(torch.randn(1, 5, 2, 2))
    else:
        with torch.no_grad():
            quantizer(torch.randn(1, 5, 2, 2))
    assert torch.equal(quantizer.codebook.table, before)


def test_moving_average_leaves_out_vectors_that_are_not_finite():
    quantizer, clean = build("ema"), build("ema")
    latent = torch.randn(2, 5, 4, 4)
    clean(latent)
    broken = torch.cat([latent, torch.full((1, 5, 4, 4), torch.nan), torch.full((1, 5, 4, 4), torch.inf)])
    quantizer(broken)
    assert torch.equal(quantizer.codebook.table, clean.codebook.table)


def test_squash_compares_behind_tanh_and_is_kept_at_export():
    quantizer = build("vq", squash="tanh")
    latent = torch.randn(2, 5, 4, 4) * 4
    point = quantizer.to_code_space(latent)
    assert torch.equal(point, latent.tanh()) and point.abs().max() <= 1
    nearest = torch.cdist(rearrange(point, "b d y x -> (b y x) d"), quantizer.codebook.table.detach()).argmin(dim=1)
    result = quantizer(latent)
    assert torch.equal(result.tokens.flatten(), nearest) and torch.equal(quantizer.lookup(result.tokens), result.latent)
    config, exported = quantizer.for_inference()
    assert config.squash == "tanh" and torch.equal(exported(latent).tokens, result.tokens)
    leaf = latent.clone().requires_grad_()
    quantizer(leaf).latent.sum().backward()
    assert torch.allclose(leaf.grad, 1 - latent.tanh().square(), atol=1e-6)


@pytest.mark.parametrize("name", ["simvq", "fvq"])
def test_projected_codes_are_the_same_with_and_without_gradients(name):
    quantizer = build(name) if name == "simvq" else build(name, codebook_size=32, patch=4, width=16)
    with torch.no_grad():
        for parameter in quantizer.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        still = quantizer.eval().codes()
    assert torch.equal(quantizer.train().codes(), still)
    assert torch.equal(quantizer.for_inference()[1].codes(), still)


@pytest.mark.parametrize("training", [True, False])
def test_bridge_never_holds_the_matrix_of_all_pairs(training):
    quantizer = build("fvq", codebook_size=8192, patch=4, width=16).train(training)
    with torch.profiler.profile(profile_memory=True) as profile, torch.set_grad_enabled(training):
        quantizer.codes()
        quantizer.for_inference()
    matrix = 4 * (8192 // 4) ** 2 * 4  # bytes: four heads
    assert max(event.cpu_memory_usage for event in profile.events()) < matrix / 16
