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
from vistok.train.finite_check import DivergedError, FiniteCheck, is_finite, skipped_limit


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
    assert "step 2 of 6" in page and "of 6: loss/l2 is" in page
    assert all(line["step"] <= 4 for line in logged(tmp_path))


def test_a_run_that_diverged_before_any_checkpoint_leaves_none(tmp_path):
    with pytest.raises(WorkFailedError, match=r"loss/l2 is (nan|inf) at step \d: lower optimizer.lr\.$"):
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


def observed(check, step, total=1.0, norm=1.0, already=None, **terms):
    """Let a check observe a step with these values, and return whether it is skipped."""
    losses = {"loss/total": torch.tensor(total)} | {
        f"loss/{name}": torch.tensor(value) for name, value in terms.items()
    }
    return check.observe(step, losses, "loss/total", torch.tensor(norm), already).is_skipped


def test_the_first_of_too_many_steps_in_a_row_is_reported(tmp_path):
    check = FiniteCheck(Accelerator(cpu=True), tmp_path, limit=2)
    nan = float("nan")
    assert [observed(check, step, norm=value) for step, value in [(1, 0.5), (2, nan), (3, float("inf")), (4, 1.0)]] == [
        *(False, True, True, False)
    ]
    check.check()
    assert check.summarise(4) == (
        {"optimizer/skipped": 2},
        [
            "2 of the last 4 steps were skipped: the norm of the gradient is nan at step 2; if it goes on, lower optimizer.lr."
        ],
    )
    assert check.summarise(1) == ({}, [])
    assert not observed(check, 5, l1=nan)  # it has no weight
    observed(check, 6, total=nan, l1=1.0, l2=float("inf"))
    assert check.summarise(1)[1][0].startswith("this step was skipped: loss/l2 is inf at step 6; if")
    observed(check, 7, total=nan, norm=nan)
    check.check()
    observed(check, 8, total=nan, norm=nan)
    with pytest.raises(
        DivergedError,
        match=r"^loss/l2 is inf at step 6, the first of 3 steps in a row that are not finite: lower optimizer.lr\.$",
    ):
        check.check()


def test_without_a_limit_the_first_step_that_is_not_finite_ends_the_run(tmp_path):
    check = FiniteCheck(Accelerator(cpu=True), tmp_path, limit=0)
    observed(check, 3, total=float("inf"))
    with pytest.raises(DivergedError, match=r"^loss/total is inf at step 3: lower optimizer.lr\.$"):
        check.check()


def test_two_steps_of_a_network_in_each_of_the_run_count_as_two_and_are_allowed_twice_as_many(tmp_path):
    check, nan = (
        FiniteCheck(Accelerator(cpu=True), tmp_path, limit=1, lr="fake_lr", section="fake", steps_each=2),
        float("nan"),
    )
    assert observed(check, 7, total=nan) and observed(check, 7, total=nan)
    check.check()
    values, (warning,) = check.summarise(1)
    assert values == {"fake/skipped": 2} and warning.startswith("2 of the last 2 steps were skipped: loss/total is nan")
    observed(check, 8, total=nan)
    with pytest.raises(DivergedError, match="loss/total is nan at step 7, the first of 3 steps in a row"):
        check.check()


def test_a_step_that_is_skipped_already_does_not_count(tmp_path):
    check = FiniteCheck(Accelerator(cpu=True), tmp_path, limit=0, lr="adversarial.lr")
    assert observed(check, 1, total=float("nan"), already=torch.tensor(True))
    check.check()
    assert check.summarise(1) == ({}, [])


def test_its_counts_go_into_the_checkpoint(tmp_path):
    nan, checks = float("nan"), [FiniteCheck(Accelerator(cpu=True), tmp_path, limit=1) for _ in range(2)]
    observed(checks[0], 6, total=nan, l2=nan)
    checks[1].load_rank_state_dict(checks[0].rank_state_dict())
    observed(checks[1], 7, total=nan, l2=nan)
    assert checks[1].summarise(2)[0] == {"optimizer/skipped": 2}
    with pytest.raises(DivergedError, match="loss/l2 is nan at step 6, the first of 2 steps"):
        checks[1].check()


def test_a_short_run_skips_at_most_a_tenth_of_its_steps():
    assert [skipped_limit(limit, steps) for limit, steps in [(10, 6), (10, 60), (10, 1000), (0, 1000)]] == [0, 6, 10, 0]


def test_a_network_is_finite_if_all_its_weights_are():
    model = torch.nn.Linear(2, 2)
    assert is_finite(model)
    model.bias.data[0] = float("nan")
    assert not is_finite(model)


def test_weights_that_are_not_finite_are_neither_exported_nor_saved(tmp_path, monkeypatch):
    """Step 4 is validated and not saved: what a loss that is still finite hides is found before the export."""
    optimizer_step = one_step.optimizer_step

    def spoiled(run, rate, decision):
        optimizer_step(run, rate, decision)
        if run.ema.updates == 3:
            with torch.no_grad():
                run.model.decoder.conv_out.bias.fill_(float("nan"))

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
