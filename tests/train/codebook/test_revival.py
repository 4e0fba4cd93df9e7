"""Revival of dead codes: they move, no others do, and the optimizer forgets them alone."""

import pytest
import torch
from accelerate import Accelerator

from vistok.tokenizer.quantizers import build_quantizer
from vistok.train.codebook.maintenance import CodebookConfig, CodebookMaintenance
from vistok.train.codebook.monitor import QuantizerIO
from vistok.train.codebook.shared_codebooks import revive_codes


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "optimizer", [torch.optim.AdamW, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)], ids=["adamw", "momentum"]
)
def test_the_optimizer_forgets_revived_codes_alone(optimizer):
    quantizer = build_quantizer({"name": "vq", "dim": 3, "codebook_size": 6})
    table = quantizer.codebook.table
    working = optimizer([table])
    table.grad = torch.randn_like(table)
    working.step()
    before = {name: value.clone() for name, value in working.state[table].items() if value.shape == table.shape}
    assert before and all(value.all() for value in before.values())
    maintenance = CodebookMaintenance(CodebookConfig(revive_every=2), quantizer, Accelerator(cpu=True), seed=0)
    latent = torch.randn(1, 3, 4, 4)
    tokens = torch.tensor([0, 2]).repeat(8).reshape(1, 1, 4, 4)
    seen = QuantizerIO(latent, latent, tokens)
    assert maintenance.observe(1, seen, working) == 0 and maintenance.observe(2, seen, working) == 4
    for name, value in before.items():
        now = working.state[table][name]
        assert not now[[1, 3, 4, 5]].any() and torch.equal(now[[0, 2]], value[[0, 2]])


@pytest.mark.parametrize("name", ["vq", "ema", "simvq"])
def test_dead_codes_and_only_they_become_vectors(name):
    torch.manual_seed(0)
    quantizer = build_quantizer({"name": name, "dim": 4, "codebook_size": 8})
    before = quantizer.codes().detach().clone()
    vectors, dead = torch.randn(50, 4), torch.tensor([1, 3, 4])
    revive_codes(quantizer.codebook, dead, vectors, generator())
    after = quantizer.codes().detach()
    alive = torch.tensor([0, 2, 5, 6, 7])
    assert torch.allclose(after[alive], before[alive])
    distances = torch.cdist(after[dead], vectors, compute_mode="donot_use_mm_for_euclid_dist")
    assert distances.min(dim=1).values.max() < 1e-4 and len(after[dead].unique(dim=0)) == 3


def test_a_revived_code_keeps_its_place_in_the_moving_average():
    # Without new counts and sums the next update would move the code back.
    quantizer = build_quantizer({"name": "ema", "dim": 4, "codebook_size": 8, "decay": 0.99})
    vectors, dead = torch.randn(50, 4) + 100, torch.arange(8)
    revive_codes(quantizer.codebook, dead, vectors, generator())
    placed = quantizer.codes().clone()
    quantizer(vectors[:, :, None, None])
    assert (quantizer.codes() - placed).norm(dim=1).max() < 5


def test_the_same_generator_draws_the_same_codes():
    books = [build_quantizer({"name": "vq", "dim": 4, "codebook_size": 8}).codebook for _ in range(2)]
    vectors = torch.randn(50, 4)
    for book in books:
        revive_codes(book, torch.arange(8), vectors, generator(4))
    assert torch.equal(books[0].codes(), books[1].codes())


def test_with_fewer_vectors_than_dead_codes_as_many_are_revived():
    quantizer = build_quantizer({"name": "vq", "dim": 3, "codebook_size": 40})
    before = quantizer.codes().detach().clone()
    maintenance = CodebookMaintenance(CodebookConfig(revive_every=1), quantizer, Accelerator(cpu=True), seed=0)
    latent = torch.randn(1, 3, 2, 2)
    seen = QuantizerIO(latent, latent, torch.full((1, 1, 2, 2), 7))
    assert maintenance.observe(1, seen, torch.optim.SGD([quantizer.codebook.table])) == 4
    moved = (quantizer.codes() != before).any(dim=1)
    assert moved.sum() == 4 and not moved[7]
