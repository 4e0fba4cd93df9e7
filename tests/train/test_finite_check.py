"""Losses and weights that are not finite end a run with the last good weights."""

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from typer.testing import CliRunner

from runs import DEBUG, FSQ, interrupt_at, logged, new_process, train_again
from samples import PHOTOS
from vistok.tokenizer.errors import WorkFailedError
from vistok.train import step as one_step
from vistok.train.commands.train_tokenizer import app
from vistok.train.export import exported_step
from vistok.train.finite_check import DivergedError, FiniteCheck, is_finite


def test_a_run_that_diverged_exits_1_and_leaves_the_last_good_weights(tmp_path):
    values = [f"data.train={PHOTOS}", "data.val=[]", f"run.out={tmp_path}", "run.steps=6", "run.log_every=1"]
    values += ["run.save_every=2", "data.size=32", "data.batch_size=4", "optimizer.warmup=0", *FSQ]
    values += ["run.ema_decay=0"]
    train_again(
        tmp_path,
        *FSQ,
        "run.save_every=2",
        "run.ema_decay=0",
        "run.log_every=1",
        "optimizer.warmup=0",
        steps=2,
    )
    good = (tmp_path / "export" / "model.safetensors").read_bytes()
    new_process()
    result = CliRunner().invoke(app, [str(DEBUG), *values, "optimizer.lr=1e30"])
    assert result.exit_code == 1
    assert "lower optimizer.lr; the last good checkpoint is" in result.stderr
    assert (tmp_path / "export" / "model.safetensors").read_bytes() == good
    page = (tmp_path / "report.html").read_text()
    assert "step 2 of 6" in page and "of 6: loss/total is" in page
    assert all(line["step"] <= 4 for line in logged(tmp_path))


def test_a_run_that_diverged_before_any_checkpoint_leaves_none(tmp_path):
    with pytest.raises(WorkFailedError, match=r"loss/total is (nan|inf) at step \d: lower optimizer.lr\.$"):
        train_again(
            tmp_path,
            *FSQ,
            "optimizer.lr=1e30",
            "optimizer.warmup=0",
            "run.log_every=1",
            "run.ema_decay=0",
        )
    assert not (tmp_path / "export").exists()


def test_a_tokenizer_of_a_later_validation_outlives_a_divergence(tmp_path, monkeypatch):
    error = DivergedError("loss/total is nan at step 6: lower optimizer.lr.")
    interrupt_at(monkeypatch, 6, error)
    with pytest.raises(WorkFailedError, match="loss/total is nan"):
        train_again(tmp_path, *FSQ, f"data.val={PHOTOS}", "run.validate_every=5", "run.save_every=4")
    assert exported_step(tmp_path / "export") == 5 and "step 5 of 6" in (tmp_path / "report.html").read_text()


def test_the_first_loss_that_is_not_finite_is_told_whatever_comes_after(tmp_path):

    check = FiniteCheck(Accelerator(cpu=True), tmp_path)
    tokens = torch.tensor([-(2**63), 7])
    for step, loss in [(1, 0.5), (2, float("inf")), (3, float("nan")), (4, 1.0)]:
        if step <= 2:
            check.check_losses()
        check.observe(torch.tensor(loss), step)
    with pytest.raises(DivergedError, match=r"^loss/total is inf at step 2: lower optimizer.lr\.$"):
        check.check_losses()
    assert check.mask_tokens(tokens).tolist() == [0, 0]
    model = torch.nn.Linear(2, 2)
    assert is_finite(model)
    model.bias.data[0] = float("nan")
    assert not is_finite(model)


def test_weights_that_are_not_finite_replace_no_tokenizer_and_are_not_kept(tmp_path, monkeypatch):
    """Step 4 is validated and not saved: what a loss that is still finite hides is found before the export."""
    optimizer_step = one_step.optimizer_step

    def spoiled(run, rate):
        norm = optimizer_step(run, rate)
        if run.ema.updates == 3:
            with torch.no_grad():
                run.model.decoder.conv_out.bias.fill_(float("nan"))
        return norm

    train_again(
        tmp_path / "whole",
        *FSQ,
        f"data.val={PHOTOS}",
        "run.validate_every=2",
        "run.save_every=3",
        steps=2,
    )
    before = load_file(tmp_path / "whole" / "export" / "model.safetensors")
    monkeypatch.setattr(one_step, "optimizer_step", spoiled)
    with pytest.raises(WorkFailedError, match="the weights of the tokenizer are not finite after step 4: lower"):
        train_again(
            tmp_path / "bad",
            *FSQ,
            f"data.val={PHOTOS}",
            "run.validate_every=2",
            "run.save_every=3",
            steps=6,
        )
    after = load_file(tmp_path / "bad" / "export" / "model.safetensors")
    assert before.keys() == after.keys() and all(tensor.isfinite().all() for tensor in after.values())
