"""A step that is not finite leaves a run as it was, on the host's way and on the device's, and the log says so."""

import pytest
import torch

from runs import ADVERSARIAL, QUANTIZERS, config, logged, new_process
from vistok.train import step as one_step
from vistok.train.loop import train
from vistok.train.optimizer import skipping
from vistok.train.run import Run
from vistok.train.step import train_step

BATCH_NORM = ADVERSARIAL[1].replace("channels: 8", "channels: 8, norm: batch").replace("start: 1", "start: 0")
OPTIONS = [ADVERSARIAL[0], BATCH_NORM, "data.workers=0", "diagnostics={update_statistics: false, noise_every: 0}"]


def leaves(value, path=""):
    """Yield all tensors and numbers of a nested state, by path."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}.{index}")
    elif isinstance(value, torch.Tensor):
        yield path, value.detach().clone()


def state_of(run):
    parts = {
        "model": run.model.state_dict(),
        "ema": run.ema.model.state_dict(),
        "adversary": run.adversary.state_dict(),
    }
    parts |= {"optimizer": run.optimizer.state_dict()["state"], "second": run.adversary.optimizer.state_dict()["state"]}
    parts |= {"monitor": run.monitor.rank_state_dict(), "maintenance": run.maintenance.rank_state_dict()}
    return dict(leaves(parts))


@pytest.mark.parametrize("on_device", [False, True], ids=["host", "device"])
@pytest.mark.parametrize("name", ["ema", "vq", "residual"])
def test_a_bad_batch_changes_nothing(tmp_path, name, on_device, monkeypatch):
    monkeypatch.setattr(skipping, "runs_ahead", lambda _: on_device)
    new_process()
    run = Run(config(tmp_path, *QUANTIZERS[name], *OPTIONS, "run.max_skipped_steps=5", steps=100))
    batches = run.batches(0)
    for step in (1, 2):
        train_step(run, step, next(batches)[0], is_logged=False, is_checked=False)
    before = state_of(run)
    images = next(batches)[0].clone()
    images[0, 0, 3, 3] = float("nan")
    train_step(run, 3, images, is_logged=False, is_checked=True)
    after = state_of(run)
    assert before.keys() == after.keys()
    # Muon's own counter of steps serves diagnostics alone.
    changed = [path for path in before if not torch.equal(before[path], after[path]) and not path.endswith(".step")]
    assert changed == []
    assert run.ema.updates == 3
    train_step(run, 4, next(batches)[0], is_logged=False, is_checked=False)
    assert not torch.equal(state_of(run)[".model.decoder.conv_out.weight"], before[".model.decoder.conv_out.weight"])
    values = run.means.summarise()
    assert all(torch.tensor(value).isfinite() for value in values.values())
    _, (warning,) = run.finite_checks["tokenizer"].summarise(4)
    assert warning.startswith("1 of the last 4 steps was skipped: loss/") and " is nan at step 3" in warning


@pytest.mark.parametrize("on_device", [False, True], ids=["host", "device"])
def test_a_bad_step_of_the_discriminator_is_its_own(tmp_path, on_device, monkeypatch):
    monkeypatch.setattr(skipping, "runs_ahead", lambda _: on_device)
    new_process()
    run = Run(config(tmp_path, *QUANTIZERS["ema"], *OPTIONS, "run.max_skipped_steps=5", steps=100))
    batches = run.batches(0)
    train_step(run, 1, next(batches)[0], is_logged=False, is_checked=False)
    before = state_of(run)
    backward = run.adversary._backward

    def spoiled(step, pair, parts):
        return backward(step, (pair[0] * float("nan"), pair[1]), parts)

    monkeypatch.setattr(run.adversary, "_backward", spoiled)
    train_step(run, 3, next(batches)[0], is_logged=False, is_checked=True)
    after = state_of(run)
    kept = [path for path in before if path.startswith((".adversary", ".second"))]
    assert kept and [path for path in kept if not torch.equal(before[path], after[path])] == []
    assert not torch.equal(before[".model.decoder.conv_out.weight"], after[".model.decoder.conv_out.weight"])
    _, (warning,) = run.finite_checks["discriminator"].summarise(1)
    assert "discriminator/" in warning and warning.endswith("lower adversarial.lr.")


def test_the_log_names_a_skipped_step_and_the_run_goes_on(tmp_path, monkeypatch, capsys):
    take = one_step.tokenizer_step

    def poisoned(run, step, micro_batches):
        return take(run, step, [batch * float("nan") for batch in micro_batches] if step == 5 else micro_batches)

    monkeypatch.setattr(one_step, "tokenizer_step", poisoned)
    train(config(tmp_path, *QUANTIZERS["fsq"], "data.workers=0", "run.save_every=20", steps=20))
    lines = logged(tmp_path)
    assert [line.get("optimizer/skipped") for line in lines] == [None, None, 1, *[None] * 7]
    assert all("loss/total" in line for line in lines)
    printed = " ".join(capsys.readouterr().out.split())
    assert "1 of the last 2 steps was skipped: loss/l2 is nan at step 5; if it goes on, lower optimizer.lr." in printed
