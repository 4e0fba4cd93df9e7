"""Two processes with half of a batch each do what one does with the whole."""

import torch

from ranks import on_two_ranks
from vistok.tokenizer.quantizers import build_quantizer

LATENT = torch.randn(4, 6, 4, 4, generator=torch.Generator().manual_seed(0))
KINDS = {
    "lfq": {"name": "lfq", "dim": 6, "entropy_bits": 6, "temperature": 1.0},
    "ibq": {"name": "ibq", "dim": 6, "codebook_size": 20, "entropy_temperature": 1.0},
    "region": {"name": "vq", "dim": 6, "codebook_size": 20, "region": True},
    "ema": {"name": "ema", "dim": 6, "codebook_size": 20},
    "sinkhorn": {"name": "ema", "dim": 6, "codebook_size": 20, "sinkhorn": {"epsilon": 0.02, "iterations": 20}},
}


def stepped(values, latent):
    """Return a gradient, and the codes after a training forward, or four of a moving average.

    It is that of the codebook entropy at the latents, or of the region loss at the codes.
    """
    torch.manual_seed(0)
    quantizer = build_quantizer(values)
    latent = latent.clone().requires_grad_()
    losses = quantizer(latent).losses
    for _ in range(3 if values["name"] == "ema" else 0):
        quantizer(latent)
    gradient = torch.zeros(())
    if "codebook_entropy" in losses:
        gradient = torch.autograd.grad(losses["codebook_entropy"], latent)[0]
    if "region" in losses:
        gradient = torch.autograd.grad(losses["region"], quantizer.codebook.table)[0]
    codes = quantizer.codes().detach() if values["name"] == "ema" else torch.zeros(())
    return gradient, codes


def work(rank, folder):
    results = {name: stepped(values, LATENT.chunk(2)[rank]) for name, values in KINDS.items()}
    torch.save(results, folder / f"{rank}.pt")


def test_entropy_and_moving_average_go_over_all_ranks(tmp_path):
    on_two_ranks(work, tmp_path)
    halves = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for name, values in KINDS.items():
        gradient, codes = stepped(values, LATENT)
        if name == "region":
            # A code that any rank uses is used: the mean over ranks is that of the whole batch.
            assert torch.allclose((halves[0][name][0] + halves[1][name][0]) / 2, gradient, atol=1e-6)
        elif values["name"] != "ema":
            # Each rank holds the gradient of its own mean over half of the latents; averaging over ranks halves it.
            together = torch.cat([half[name][0] for half in halves]) / 2
            assert torch.allclose(together, gradient, atol=1e-6)
        assert torch.equal(halves[0][name][1], halves[1][name][1])
        assert torch.allclose(halves[0][name][1], codes, atol=1e-6)
