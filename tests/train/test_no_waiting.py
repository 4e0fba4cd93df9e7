"""A training step that is not logged does not wait for its device: with every quantizer, and all losses and options.

On a machine without a GPU, the way of the GPU is taken on the CPU, and the operations that would wait are counted.
"""

from contextlib import nullcontext

import pytest
import torch
from accelerate import Accelerator

from host_syncs import no_host_syncs
from quantizer_table import EVERY, latent_for, name_of
from runs import ADVERSARIAL, QUANTIZERS, config, new_process
from vistok.tokenizer.quantizers import build_quantizer
from vistok.train.codebook.monitor import CodebookMonitor, QuantizerIO
from vistok.train.optimizer import skipping
from vistok.train.run import Run
from vistok.train.step import train_step

STEPS = 3
"""Steps before the one that is watched, which is one of R1, and of revival where a run revives."""
FULL = [*ADVERSARIAL, "diagnostics={update_statistics: false, noise_every: 0}", "data.workers=0", "run.log_every=100"]


@pytest.fixture(autouse=True)
def way_of_the_gpu(monkeypatch):
    monkeypatch.setattr(skipping, "runs_ahead", lambda _: True)
    new_process()


@pytest.mark.parametrize("name", list(QUANTIZERS))
@pytest.mark.parametrize("options", [[], ["run.gradient_accumulation=2", "run.activation_checkpointing=true"]], ids=str)
def test_a_step_of_every_recipe_does_not_wait(tmp_path, name, options, perceptual):
    run = Run(config(tmp_path, *QUANTIZERS[name], *perceptual, *FULL, *options))
    batches = run.batches(0)
    for step in range(1, STEPS + 2):
        images, _ = next(batches)
        with no_host_syncs() if step > STEPS else nullcontext():
            train_step(run, step, images, is_logged=False, is_checked=False)


@pytest.mark.parametrize("values", EVERY, ids=name_of)
def test_no_quantizer_waits_in_training_nor_does_the_monitor(values):
    torch.manual_seed(0)
    quantizer = build_quantizer(values).train()
    accelerator = Accelerator()
    quantizer.to(accelerator.device)
    monitor = CodebookMonitor(quantizer, accelerator)
    for warms_up in (True, False):  # the first forward may fill caches and compile kernels
        latent = latent_for(quantizer).to(accelerator.device).requires_grad_()
        with nullcontext() if warms_up else no_host_syncs():
            result = quantizer(latent)
            (result.latent.sum() + sum(result.losses.values())).backward()
            seen = QuantizerIO(latent.detach(), result.latent.detach(), result.tokens)
            monitor.observe(seen, skip=latent.detach().sum().isnan())
