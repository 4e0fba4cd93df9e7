"""A fit brings the codes to the latents, and is the same each time."""

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from samples import gaussian
from vistok.tokenizer.quantizers import Quantizer, build_quantizer
from vistok.train.codebook.maintenance import CodebookConfig
from vistok.train.finetune.config import FitConfig
from vistok.train.finetune.fit_quantizer import RECONSTRUCTION, fit_quantizer
from vistok.train.finetune.swap_quantizer import FittedQuantizer, as_latent
from vistok.train.losses.terms import quantizer_weights

IDENTITY = nn.Identity()


def fit(model, vectors, targets, steps=200, codebook=None, **weights):
    weights = quantizer_weights(model.quantizer, commitment=0.0) | {RECONSTRUCTION: 1.0} | weights
    config = FitConfig(steps=steps, batch_size=256, lr=1e-2)
    fit_quantizer(model, vectors, targets, weights, config, codebook or CodebookConfig(), Accelerator(cpu=True), seed=0)


def test_a_fit_brings_the_codes_to_the_latents():
    vectors = gaussian(4000, 4)
    errors = []
    for steps in (0, 300):
        model = FittedQuantizer(IDENTITY, build_quantizer({"name": "simvq", "dim": 4, "codebook_size": 64}), IDENTITY)
        fit(
            model,
            vectors,
            vectors,
            steps,
            CodebookConfig(initialization="kmeans", vectors_per_code=32, revive_every=20),
        )
        with torch.no_grad():
            quantized, tokens, _ = model(as_latent(vectors))
        errors.append(float((quantized - as_latent(vectors)).square().mean()))
        assert len(tokens.unique()) > 60
    # k-means ends near where the fit ends: the fit keeps it.
    assert errors[1] <= errors[0] * 1.01 and errors[0] < vectors.var() / 4
    assert not model.training and not any(p.requires_grad for p in model.parameters())


def test_equal_fits_are_equal():
    vectors = gaussian(500, 4)
    tables = []
    for _ in range(2):
        torch.manual_seed(0)
        model = FittedQuantizer(IDENTITY, build_quantizer({"name": "vq", "dim": 4, "codebook_size": 16}), IDENTITY)
        fit(model, vectors, vectors, 20)
        tables.append(model.quantizer.codes())
    assert torch.equal(*tables)


def test_a_quantizer_without_parameters_has_nothing_to_fit():
    model = FittedQuantizer(IDENTITY, build_quantizer({"name": "fsq", "levels": [5, 5]}), IDENTITY)
    fit(model, gaussian(100, 2), gaussian(100, 2))
    assert not model.training


class StepRecorder(nn.Module):
    """The identity, which records the training step of the quantizer behind it."""

    def __init__(self, quantizer: Quantizer):
        super().__init__()
        self.behind = [quantizer]
        self.steps = []

    def forward(self, latent):
        self.steps.append(self.behind[0].training_step)
        return latent


@pytest.mark.parametrize(
    "config",
    [
        {"projection_optimizer": "muon", "muon_rate": 5.0},
        {"codebook_rows": "lazy"},
        {"projection_optimizer": "muon", "codebook_rows": "lazy"},
    ],
)
def test_a_fit_settles_with_each_and_tells_the_quantizer_its_steps(config):
    torch.manual_seed(0)
    vectors = torch.randn(16, 4)[torch.randint(16, (2000,))] + 0.05 * torch.randn(2000, 4)
    quantizer = build_quantizer({"name": "simvq", "dim": 4, "codebook_size": 32, "trained_basis": True})
    model = FittedQuantizer(StepRecorder(quantizer), quantizer, nn.Identity())
    values = {"steps": 60, "batch_size": 256, "lr": 2e-2} | config
    weights = {"codebook": 1.0, "commitment": 0.0}
    codebook = CodebookConfig.model_validate({"revive_every": 10})
    fit_quantizer(
        model, vectors, vectors, weights, FitConfig.model_validate(values), codebook, Accelerator(cpu=True), seed=0
    )
    assert model.into.steps == list(range(60))
    with torch.no_grad():
        error = (model(vectors.T[None, :, None]).latent - vectors.T[None, :, None]).square().mean()
    assert float(error) < 0.1 * float(vectors.var())
