"""A training step that is not logged does not wait for its device: with every quantizer, and all losses and options.

On a machine without a GPU, the way of the GPU is taken on the CPU, and the operations that would wait are counted.
"""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from fake_gpu import fake_cuda
from torch._subclasses.fake_tensor import FakeTensorMode

from host_syncs import HostSyncs, no_host_syncs
from quantizer_table import EVERY, latent_for, name_of
from runs import ADVERSARIAL, QUANTIZERS, config, new_process
from vistok.tokenizer.quantizers import build_quantizer
from vistok.tokenizer.quantizers.composed.residual import ResidualQuantizer
from vistok.tokenizer.quantizers.search import operation
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


@pytest.mark.parametrize("values", EVERY, ids=name_of)
def test_no_quantizer_copies_from_the_host_in_training_nor_does_the_monitor(values, monkeypatch):
    """On a GPU without values: what is made on the CPU and copied shows itself where there are two devices."""
    with fake_cuda():  # or skip
        pass
    monkeypatch.setattr(ResidualQuantizer, "_kept_levels", lambda self: self.num_codebooks)
    monkeypatch.setattr(operation, "_search_on", lambda _: lambda z, *_: z.new_zeros(len(z), dtype=torch.int64))
    quantizer, device = build_quantizer(values).train(), torch.device("cuda", 0)
    shape = latent_for(quantizer).shape
    with FakeTensorMode(allow_non_fake_inputs=True):
        quantizer.to(device)
        monitor = CodebookMonitor(quantizer, SimpleNamespace(num_processes=1, device=device, reduce=max))
        latent = torch.empty(shape, device=device, requires_grad=True)
        quantizer(latent)  # the first forward may fill caches
        with HostSyncs() as syncs:
            result = quantizer(latent)
            seen = QuantizerIO(latent.detach(), result.latent.detach(), result.tokens)
            monitor.observe(seen, skip=latent.detach().sum().isnan())
    assert not syncs.found
