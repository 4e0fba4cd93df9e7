"""The step of the fake network: over two processes, when it is skipped, and without waiting for the device."""

import copy
from contextlib import nullcontext

import pytest
import torch
from accelerate import Accelerator
from torch import distributed

from decoder_runs import RECIPES, decoder_config, train_decoder
from host_syncs import no_host_syncs
from ranks import on_two_ranks
from runs import ADVERSARIAL, new_process
from samples import ARCHITECTURE, small_tokenizer
from vistok.tokenizer.decoders.residual_unet import ResidualUNetConfig
from vistok.tokenizer.folder.save_load import save_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig
from vistok.train.generative import fake_training
from vistok.train.generative.fake_training import FakeTraining
from vistok.train.opponent import Made
from vistok.train.optimizer import skipping
from vistok.train.optimizer.config import OptimizerConfig
from vistok.train.run import Run
from vistok.train.step import train_step


def training(steps=1):
    torch.manual_seed(0)
    network = ResidualUNetConfig(channels=[4, 6], blocks=1, time_channels=4).build(ARCHITECTURE, 4)
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape)
    network.scale = 0.5
    generator = copy.deepcopy(network)
    config = OptimizerConfig(name="adamw", lr=1e-2, clip_norm=None)
    return FakeTraining(network, generator, steps, config, Accelerator(cpu=True))


def made_of(seed, count=2):
    generator = torch.Generator().manual_seed(seed)
    pixels, base = (torch.randn(count, 3, 16, 16, generator=generator) for _ in range(2))
    return Made(pixels, torch.randn(count, 4, 2, 2, generator=generator), base)


def fixed_draws(monkeypatch):
    """Let each image have its own time and noise, whoever draws them."""
    monkeypatch.setattr(fake_training, "sample_times", lambda count, device: torch.full((count,), 0.4))
    monkeypatch.setattr(torch, "randn_like", lambda like, **_: like.roll(1, dims=3) * 0.7)


def weights_of(opponent):
    return torch.cat([parameter.detach().flatten() for parameter in opponent.network.parameters()])


def work(rank, folder):
    with pytest.MonkeyPatch.context() as patch:
        fixed_draws(patch)
        opponent = training()
        opponent.learn(1, [], [made_of(rank)], 1.0)
    torch.save(weights_of(opponent), folder / f"{rank}.pt")
    distributed.barrier()


def test_two_processes_take_the_step_of_one_with_both_batches(tmp_path, monkeypatch):
    """AdamW's step from the mean of the gradients; micro-batches of one process are the same mean."""
    on_two_ranks(work, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert torch.equal(first, second)
    new_process()
    fixed_draws(monkeypatch)
    for batches in ([made_of(0), made_of(1)], [Made(*map(torch.cat, zip(made_of(0), made_of(1), strict=True)))]):
        alone = training()
        before = weights_of(alone)
        alone.learn(1, [], batches, 1.0)
        assert torch.allclose(weights_of(alone), first, atol=1e-5) and not torch.allclose(before, first, atol=1e-3)


def test_the_loss_is_that_of_flow_matching_on_the_samples(monkeypatch):
    new_process()
    fixed_draws(monkeypatch)
    opponent, made = training(), made_of(3)
    sample = (made.pixels.double() - made.base.double()) / 0.5
    noisy = (0.6 * sample + 0.4 * (sample.roll(1, dims=3) * 0.7)).float()
    predicted = opponent.network.predict(noisy, torch.full((2,), 0.4), made.quantized, made.base).detach()
    scalars, _ = opponent.learn(1, [], [made], 1.0)
    expected = ((predicted.double() - sample) / 0.4).square().mean()
    assert float(scalars["fake/loss"]) == pytest.approx(float(expected), rel=1e-4)


def test_further_steps_are_on_fresh_samples_of_the_decoder():
    new_process()
    two, seen = training(steps=2), []
    backward = two._backward
    two._backward = lambda made, sample, parts: seen.append(sample) or backward(made, sample, parts)
    made = made_of(4)
    two.learn(1, [], [made], 1.0)
    first, second = seen
    assert torch.allclose(first, (made.pixels - made.base) / 0.5)
    assert first.shape == second.shape and not torch.allclose(first, second)
    assert not any(parameter.requires_grad for parameter in two.network.parameters())


QUIET = ["diagnostics={update_statistics: false, noise_every: 0}", "run.max_skipped_steps=5"]


@pytest.mark.parametrize("on_device", [False, True], ids=["host", "device"])
def test_a_bad_batch_changes_neither_network(tmp_path, flow_folder, on_device, monkeypatch):
    monkeypatch.setattr(skipping, "runs_ahead", lambda _: on_device)
    new_process()
    run = Run(decoder_config(tmp_path, flow_folder, "fgm", *QUIET, teacher=flow_folder, steps=100))

    def state():
        parts = [run.recipe.decoder, run.opponent.network, run.ema.model]
        moments = [run.optimizer.state, run.opponent.optimizer.state]
        tensors = [p for part in parts for p in part.parameters()]
        names = ("exp_avg", "exp_avg_sq", "momentum_buffer")
        tensors += [v for each in moments for one in each.values() for name, v in one.items() if name in names]
        return [tensor.detach().clone() for tensor in tensors]

    batches = run.batches(0)
    for step in (1, 2):
        train_step(run, step, next(batches)[0], is_logged=False, is_checked=False)
    before, images, decode = state(), next(batches)[0], run.model.decode_latent
    # A broken image would not do: the recipe sees codes and plain answers alone.
    monkeypatch.setattr(run.model, "decode_latent", lambda codes: decode(codes) * float("nan"))
    train_step(run, 3, images, is_logged=True, is_checked=True)
    monkeypatch.undo()
    monkeypatch.setattr(skipping, "runs_ahead", lambda _: on_device)
    assert all(torch.equal(a, b) for a, b in zip(before, state(), strict=True))
    train_step(run, 4, next(batches)[0], is_logged=False, is_checked=False)
    assert not all(torch.equal(a, b) for a, b in zip(before, state(), strict=True))
    values, (warning,) = run.finite_checks["tokenizer"].summarise(4)
    assert values == {"optimizer/skipped": 1} and "at step 3" in warning


def test_a_bad_step_of_the_fake_is_its_own(tmp_path, flow_folder, monkeypatch):
    new_process()
    run = Run(decoder_config(tmp_path, flow_folder, "fgm", *QUIET, teacher=flow_folder, steps=100))
    batches = run.batches(0)
    for step in (1, 2):
        train_step(run, step, next(batches)[0], is_logged=False, is_checked=False)
    before = weights_of(run.opponent)
    decoder = torch.cat([p.detach().flatten() for p in run.recipe.decoder.parameters()])
    monkeypatch.setattr(run.opponent, "_sample", lambda made, is_first: made.base * float("nan"))
    train_step(run, 3, next(batches)[0], is_logged=False, is_checked=True)
    assert torch.equal(before, weights_of(run.opponent))
    assert not torch.equal(decoder, torch.cat([p.detach().flatten() for p in run.recipe.decoder.parameters()]))
    values, (warning,) = run.finite_checks["fake network"].summarise(1)
    assert values == {"fake/skipped": 2}
    assert warning.startswith("2 of the last 2 steps were skipped: fake/loss is nan at step 3; if it goes on, lower ")
    assert warning.endswith(" decoder.recipe.fake_lr.")


@pytest.fixture(scope="module")
def searchless(tmp_path_factory):
    """A tokenizer with a flow decoder, whose frozen quantizer searches no codebook: without kernels, that waits."""
    folder = tmp_path_factory.mktemp("fsq")
    model = small_tokenizer({"name": "fsq", "levels": [8, 8, 8]})
    save_tokenizer(folder / "plain", model, ARCHITECTURE, PreprocessingConfig(size=64), "# fsq\n")
    return train_decoder(folder / "flow", folder / "plain", "flow", steps=1)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_step_of_a_recipe_does_not_wait_for_the_device(tmp_path, searchless, recipe, monkeypatch):
    monkeypatch.setattr(skipping, "runs_ahead", lambda _: True)
    new_process()
    more = [*ADVERSARIAL, "losses={l1: 1.0, adversarial: 0.1}"] if recipe == "gan" else []
    values = [*QUIET, *more, "run.gradient_accumulation=2", "run.log_every=100"]
    start = searchless.parents[1] / "plain" if recipe == "gan" else searchless
    run = Run(decoder_config(tmp_path, start, recipe, *values, teacher=searchless))
    batches = run.batches(0)
    for step in range(1, 5):
        images, _ = next(batches)
        with no_host_syncs() if step > 3 else nullcontext():
            train_step(run, step, images, is_logged=False, is_checked=False)
