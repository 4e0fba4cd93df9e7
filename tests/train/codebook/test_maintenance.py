"""Codes are set to k-means centres at the start, and every process holds those of the main one."""

import os

import pytest
import torch
from accelerate import Accelerator

from ranks import on_two_ranks
from vistok.tokenizer.quantizers import build_quantizer
from vistok.tokenizer.quantizers.vector.kmeans import kmeans
from vistok.train.codebook.maintenance import CodebookConfig, CodebookMaintenance
from vistok.train.codebook.monitor import QuantizerIO

KMEANS = CodebookConfig(initialization="kmeans", kmeans_iterations=5)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def latent_of(vectors):
    return vectors.T[None, :, :, None]


def maintained(values, config=KMEANS):
    torch.manual_seed(0)
    quantizer = build_quantizer(values)
    return quantizer, CodebookMaintenance(config, quantizer, Accelerator(cpu=True), seed=0)


@pytest.mark.parametrize("name", ["vq", "ema", "simvq"])
def test_initialized_codes_are_the_centres(name):
    quantizer, maintenance = maintained({"name": name, "dim": 4, "codebook_size": 16})
    vectors, rounds = torch.randn(300, 4, generator=generator(2)), []
    maintenance.initialize([latent_of(vectors)], rounds.append)
    assert torch.allclose(quantizer.codes(), kmeans(vectors, 16, 5, generator()), atol=1e-4)
    assert rounds == list(range(1, maintenance.rounds + 1)) and maintenance.rounds == 5


def test_no_more_latents_are_asked_for_than_the_config_says():
    _, maintenance = maintained({"name": "vq", "dim": 4, "codebook_size": 16})
    batches = iter([latent_of(torch.randn(100, 4)) for _ in range(5)])
    maintenance.initialize(batches)  # 16 * 16 vectors
    assert len(list(batches)) == 2


def test_initialized_moving_averages_stay_when_latents_are_their_codes():
    quantizer, maintenance = maintained({"name": "ema", "dim": 4, "codebook_size": 16, "decay": 0.8})
    maintenance.initialize([latent_of(torch.randn(300, 4, generator=generator(2)) + 3)])
    placed = quantizer.codes().clone()
    assert torch.allclose(quantizer.codebook.sums, placed * quantizer.codebook.counts.unsqueeze(1))
    for latents in (placed, placed[:4], placed[4:5]):
        quantizer(latent_of(latents).requires_grad_())
        assert torch.allclose(quantizer.codes(), placed, rtol=1e-3)


def test_a_level_is_initialized_with_what_the_one_before_leaves():
    inner = {"name": "vq", "dim": 4, "codebook_size": 16}
    quantizer, maintenance = maintained({"name": "residual", "depth": 2, "quantizer": inner})
    vectors = torch.randn(300, 4, generator=generator(2))
    maintenance.initialize([latent_of(vectors)])
    first, second = (level.codes() for level in quantizer.codebooks())
    draws = generator()
    assert torch.equal(first, kmeans(vectors, 16, 5, draws))
    left = vectors - first[torch.cdist(vectors.double(), first.double()).argmin(dim=1)]
    assert torch.allclose(second, kmeans(left, 16, 5, draws), atol=1e-5) and maintenance.rounds == 10


KINDS = {
    "vq": {"name": "vq", "dim": 4, "codebook_size": 12},
    "ema": {"name": "ema", "dim": 4, "codebook_size": 12},
    "simvq": {"name": "simvq", "dim": 4, "codebook_size": 12},
    "residual": {"name": "residual", "depth": 2, "quantizer": {"name": "ema", "dim": 4, "codebook_size": 12}},
}
LATENT = torch.randn(6, 4, 4, 4, generator=generator(1))


def tables(values, rank, processes):
    """Return all states of a quantizer after its codes were initialized and some revived."""
    config = KMEANS.model_copy(update={"revive_every": 1})
    quantizer, maintenance = maintained(values, config)
    latent = LATENT.chunk(processes)[rank]
    with torch.no_grad():
        maintenance.initialize([latent])
        tokens = torch.zeros(len(latent), quantizer.num_codebooks, 4, 4, dtype=torch.int64)
        revived = maintenance.observe(1, QuantizerIO(latent, latent, tokens), torch.optim.SGD([torch.zeros(1)]))
    return {"revived": torch.tensor(revived), **quantizer.state_dict()}


def work(rank, folder):
    place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {**place, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "ACCELERATE_USE_CPU": "true"}
    accelerator = Accelerator(cpu=True)
    assert accelerator.num_processes == 2
    results = {name: tables(values, rank, 2) for name, values in KINDS.items()}
    if rank:  # arithmetic that is not that of the main process
        real = Accelerator.gather
        Accelerator.gather = lambda self, rows: real(self, rows) * (1 + 1e-3 * torch.rand(()))
    perturbed = {name: tables(values, rank, 2) for name, values in KINDS.items()}
    torch.save([results, perturbed], folder / f"{rank}.pt")


def test_both_processes_hold_the_codes_of_the_main_one_even_where_their_arithmetic_differs(tmp_path):
    on_two_ranks(work, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    alone = {name: tables(values, 0, 1) for name, values in KINDS.items()}
    for name in KINDS:
        assert alone[name]["revived"] == 11 * (2 if name == "residual" else 1)
        for key, value in alone[name].items():
            assert all(torch.equal(of_rank[name][key], value) for run in (first, second) for of_rank in run), (
                name,
                key,
            )
