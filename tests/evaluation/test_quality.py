"""Directions of codes and latents in an evaluation, against numpy."""

import numpy as np
import pytest
import torch

from samples import ARCHITECTURE, small_tokenizer
from vistok.evaluation import running_covariance as covariances
from vistok.evaluation.quality import measure


def effective_rank(latent):
    rows = latent.permute(0, 2, 3, 1).flatten(0, 2).double().numpy()
    energies = np.linalg.eigvalsh(np.cov(rows, rowvar=False)).clip(1e-300)
    fractions = energies / energies.sum()
    return np.exp(-(fractions * np.log(fractions)).sum())


QUANTIZERS = [
    {"name": "vq", "dim": 6, "codebook_size": 32},
    {"name": "fsq", "levels": [5, 4, 3]},
    {"name": "residual", "depth": 2, "quantizer": {"name": "vq", "dim": 4, "codebook_size": 16}},
]


@pytest.mark.parametrize("values", QUANTIZERS, ids=str)
def test_effective_ranks_are_those_of_all_positions(values):
    torch.manual_seed(0)
    model = small_tokenizer(values)
    pixels = torch.rand(5, 3, 32, 32) * 2 - 1
    quality = measure(model, iter(pixels.split([2, 2, 1]))).quality
    with torch.no_grad():
        latent = model.encode_latent(pixels)
        points, codes = model.quantizer.to_code_space(latent), model.quantizer(latent).latent
    assert quality.effective_rank == pytest.approx(effective_rank(codes), rel=1e-3)
    assert quality.latent_effective_rank == pytest.approx(effective_rank(points), rel=1e-3)


def test_too_many_channels_are_not_measured(monkeypatch):
    monkeypatch.setattr(covariances, "MAX_CHANNELS", 4)
    quality = measure(small_tokenizer(QUANTIZERS[0]), [torch.zeros(1, 3, 32, 32)]).quality
    assert quality.effective_rank is None and quality.latent_effective_rank is None


def test_without_a_decoder_all_is_measured_but_reconstructions():
    whole = small_tokenizer(QUANTIZERS[0])
    half = small_tokenizer(QUANTIZERS[0], architecture=ARCHITECTURE.model_copy(update={"encoder_only": True}))
    assert whole.has_decoder and not half.has_decoder
    half.load_state_dict({name: whole.state_dict()[name] for name in half.state_dict()})
    pixels = torch.rand(3, 3, 32, 32) * 2 - 1
    expected, found = measure(whole, [pixels]), measure(half, [pixels], lambda *_: pytest.fail("nothing to compare"))
    assert torch.equal(found.counts, expected.counts) and found.quality.images_per_second > 0
    same = dict.fromkeys(("psnr", "ssim", "images_per_second"))
    assert found.quality._replace(**same) == expected.quality._replace(**same)
    assert found.quality.psnr is None and found.quality.ssim is None
