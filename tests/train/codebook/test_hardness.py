"""Annealed hardness within a run and within a fit."""

import math

import pytest
import torch
from accelerate import Accelerator

from runs import QUANTIZERS, config, logged, new_process
from vistok.tokenizer.quantizers import build_quantizer
from vistok.train.codebook.maintenance import CodebookConfig
from vistok.train.finetune.config import FitConfig
from vistok.train.finetune.fit_quantizer import fit_quantizer
from vistok.train.finetune.swap_quantizer import FittedQuantizer
from vistok.train.loop import train
from vistok.train.run import Run
from vistok.train.step import tokenizer_step

RAMP = "codebook.harden_steps=3"


def gradients(overrides, step, folder):
    """Return what a step at fresh weights leaves: its scalars and every gradient."""
    new_process()
    run = Run(config(folder, *QUANTIZERS["ema"], *overrides))
    pixels = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    result = tokenizer_step(run, step, list(pixels.chunk(2)))
    return result.scalars, {name: parameter.grad for name, parameter in run.model.named_parameters()}


def test_after_the_ramp_a_step_is_that_of_a_run_without_it(tmp_path):
    plain, expected = gradients([], 4, tmp_path)
    ended, found = gradients([RAMP], 4, tmp_path)
    assert plain.keys() == ended.keys() and all(torch.equal(plain[name], ended[name]) for name in plain)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    early, _ = gradients([RAMP], 1, tmp_path)
    assert early["loss/l1"] != plain["loss/l1"] and torch.equal(early["loss/commitment"], plain["loss/commitment"])


def test_validation_sees_codes(tmp_path):
    """A learning rate of nearly 0 leaves the weights, so that a run in its ramp must validate as one without."""
    still = [*QUANTIZERS["fsq"], "optimizer.lr=1e-30", "run.validate_every=2"]
    scores = []
    for name, more in (("hard", []), ("soft", ["codebook.harden_steps=1000"])):
        new_process()
        settings = config(tmp_path / name, *still, *more, steps=2)
        settings = settings.model_copy(update={"data": settings.data.model_copy(update={"val": settings.data.train})})
        train(settings)
        scores.append([line["validation/psnr"] for line in logged(tmp_path / name) if "validation/psnr" in line])
    assert scores[0] and scores[0] == scores[1]


@pytest.mark.parametrize(("harden_steps", "slope"), [(0, 3 * (2 / math.pi) ** 0.5), (1_000_000, 1.0)])
def test_a_fit_learns_the_map_behind_the_quantizer_from_what_it_shows(harden_steps, slope):
    # Of N(0, 9) the sign explains 3 sqrt(2 / pi) of it, the latent itself all.
    vectors = 3 * torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0))
    out = torch.nn.Conv2d(1, 1, 1, bias=False)
    model = FittedQuantizer(torch.nn.Identity(), build_quantizer({"name": "lfq", "dim": 1}), out)
    weights = {"reconstruction": 1.0, "commitment": 0.0, "sample_entropy": 0.0, "codebook_entropy": 0.0}
    codebook, accelerator = CodebookConfig(harden_steps=harden_steps), Accelerator(cpu=True)
    settings = FitConfig(steps=200, batch_size=2000, lr=0.1)
    fit_quantizer(model, vectors, vectors, weights, settings, codebook, accelerator, seed=0)
    assert float(out.weight.detach().squeeze()) == pytest.approx(slope, rel=0.02)


def test_negative_steps_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"codebook.harden_steps is -1, but must be at least 0"):
        config(tmp_path, "codebook.harden_steps=-1")
