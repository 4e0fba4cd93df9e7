"""Resumed runs, and runs of two processes."""

import json
import shutil
import signal
import time
import zlib

import pytest
from prepared import run_prepared, run_ranks, start_prepared

from runs import (
    ADVERSARIAL,
    DEBUG,
    QUANTIZERS,
    config,
    logged,
    new_process,
    resumed_equals_whole,
    train_again,
)
from samples import PHOTOS
from vistok.tokenizer.errors import WorkFailedError
from vistok.train import step as one_step
from vistok.train.loop import train


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_a_resumed_run_equals_one_that_never_stopped(tmp_path, quantizer):
    resumed_equals_whole(tmp_path, *QUANTIZERS[quantizer])


def test_so_does_the_full_recipe_with_micro_batches(tmp_path, perceptual):
    more = ["run.gradient_accumulation=2", "diagnostics={noise_every: 1, curvature_every: 1}", "run.log_every=3"]
    resumed_equals_whole(tmp_path, *QUANTIZERS["vq"], *perceptual, *ADVERSARIAL, *more)


def test_so_does_one_whose_decoder_still_sees_blends(tmp_path):
    resumed_equals_whole(tmp_path, *QUANTIZERS["residual"], "codebook.harden_steps=5")


def test_what_a_run_depends_on_cannot_change_and_other_changes_are_warnings(tmp_path, capsys):
    train(config(tmp_path, *QUANTIZERS["fsq"], steps=4))
    new_process()
    with pytest.raises(
        ValueError, match=r"holds a run with model.quantizer.levels \[5, 5, 5\], not \[5, 5, 7\]: use another"
    ):
        train(config(tmp_path, "model.quantizer={name: fsq, levels: [5, 5, 7]}", "losses={l2: 1.0}", steps=4))
    new_process()
    with pytest.raises(ValueError, match=r"run.steps is 3, but .*step-0000004 is of step 4: set more"):
        train(config(tmp_path, *QUANTIZERS["fsq"], steps=3))
    new_process()
    capsys.readouterr()
    train(config(tmp_path, *QUANTIZERS["fsq"], "optimizer.lr=1e-4", steps=6))
    said = " ".join(capsys.readouterr().out.split())
    assert "this run started with optimizer.lr 0.002 and continues with 0.0001." in said
    assert [line["step"] for line in logged(tmp_path)] == [2, 4, 6]


def test_settings_of_the_optimizers_that_changed_count(tmp_path, monkeypatch):
    groups = []
    train(config(tmp_path, *ADVERSARIAL, steps=2))
    step = one_step.tokenizer_step

    def note(run, *arguments):
        groups[:] = [*run.optimizer.param_groups, *run.adversary.optimizer.param_groups]
        return step(run, *arguments)

    monkeypatch.setattr(one_step, "tokenizer_step", note)
    changed = ["optimizer.betas=[0.5, 0.8]", "optimizer.momentum=0.7", "optimizer.weight_decay=0.1"]
    changed += [ADVERSARIAL[0], ADVERSARIAL[1].replace("start: 1", "start: 1, betas: [0.1, 0.2]")]
    train_again(tmp_path, *changed, steps=4)
    *tokenizer, discriminator = groups
    assert tuple(discriminator["betas"]) == (0.1, 0.2)
    for group in tokenizer:
        if group.get("use_muon"):
            assert group["momentum"] == 0.7
        else:
            assert tuple(group["betas"]) == (0.5, 0.8)
    assert any(group["weight_decay"] == 0.1 for group in tokenizer)


def test_revival_can_begin_and_end_in_the_middle(tmp_path):
    rest = [QUANTIZERS["vq"][0]]
    train(config(tmp_path, *rest, steps=2))
    train_again(tmp_path, *rest, "codebook.revive_every=2", steps=4)
    train_again(tmp_path, *rest, steps=6)
    assert [line["step"] for line in logged(tmp_path)] == [2, 4, 6]


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        (
            [],
            ADVERSARIAL,
            "holds no discriminator, but this run has one: use another run.out, or the losses.adversarial",
        ),
        (ADVERSARIAL, ["losses.adversarial=0", ADVERSARIAL[1]], "holds a discriminator, but this run has none: use"),
    ],
)
@pytest.mark.parametrize("config_is_there", [True, False])
def test_what_a_checkpoint_holds_cannot_change(tmp_path, first, then, message, config_is_there):
    train(config(tmp_path, *first, steps=2))
    if not config_is_there:
        (tmp_path / "config.yaml").unlink()
    with pytest.raises(ValueError, match=message):
        train_again(tmp_path, *then, steps=4)


def test_a_checkpoint_of_another_version_is_refused(tmp_path):
    train(config(tmp_path, steps=2))
    checkpoint = tmp_path / "checkpoints" / "step-0000002"
    (checkpoint / "process-0.pt").unlink()
    seal(checkpoint)
    with pytest.raises(ValueError, match="step-0000002 was written by another version of vistok: use another run.out"):
        train_again(tmp_path, steps=4)


def seal(checkpoint):
    files = [path for path in checkpoint.iterdir() if path.name != "seal.json"]
    content = {path.name: [path.stat().st_size, zlib.crc32(path.read_bytes())] for path in files}
    (checkpoint / "seal.json").write_text(json.dumps(content))


@pytest.mark.parametrize("content", ["", "run: [", "\0" * 9, None])
def test_a_run_whose_config_was_lost_still_knows_what_it_began_with(tmp_path, content, capsys):
    train(config(tmp_path, steps=2))
    (tmp_path / "config.yaml").unlink()
    if content is not None:
        (tmp_path / "config.yaml").write_text(content)
    new_process()
    with pytest.raises(
        ValueError, match="holds a run with run.seed 0, not 3: use another run.out, or the value it started with"
    ):
        train(config(tmp_path, "run.seed=3", steps=4))
    capsys.readouterr()
    train_again(tmp_path, "optimizer.lr=1e-4", steps=4)
    assert "this run started with optimizer.lr 0.002 and continues with 0.0001" in capsys.readouterr().out
    assert (tmp_path / "config.yaml").read_text().startswith("run:")


def test_keys_that_came_since_a_checkpoint_are_no_obstacle_and_those_that_went_are(tmp_path, capsys):
    train(config(tmp_path, steps=2))
    checkpoint = tmp_path / "checkpoints" / "step-0000002"
    facts = json.loads((checkpoint / "facts.json").read_text())
    del facts["config"]["data"]["on_error"], facts["config"]["optimizer"]["betas"]
    (checkpoint / "facts.json").write_text(json.dumps(facts))
    seal(checkpoint)
    capsys.readouterr()
    train_again(tmp_path, steps=2)
    assert "this run started with" not in capsys.readouterr().out
    facts["config"]["optimizer"]["old_key"] = 1
    (checkpoint / "facts.json").write_text(json.dumps(facts))
    seal(checkpoint)
    message = r"2 was written by another version of vistok \(optimizer.old_key is not .*\): use another run.out"
    with pytest.raises(ValueError, match=message):
        train_again(tmp_path, steps=2)


def test_another_number_of_processes_is_a_warning(tmp_path, capsys):
    train(config(tmp_path, "run.log_every=3", steps=2))
    checkpoint = tmp_path / "checkpoints" / "step-0000002"
    (checkpoint / "process-1.pt").write_bytes(b"not read")
    seal(checkpoint)
    capsys.readouterr()
    train_again(tmp_path, "run.log_every=3", steps=4)
    assert "the number of processes was 2 and is 1" in " ".join(capsys.readouterr().out.split())
    assert logged(tmp_path)[-2]["codebook/tokens"] * 2 == logged(tmp_path)[0]["codebook/tokens"]


def test_a_discriminator_that_broke_is_not_kept(tmp_path):
    adversarial = ADVERSARIAL[1].replace("start: 1", "start: 0").replace("r1: 1.0", "r1: 1.0e+38")
    with pytest.raises(
        WorkFailedError,
        match=r"^the norm of the gradient is nan at step 2: lower adversarial.lr; the last good .*step-0000001",
    ):
        train(config(tmp_path, ADVERSARIAL[0], adversarial, "run.save_every=1"))


def test_a_run_killed_at_any_moment_ends_as_one_that_was_not(tmp_path):
    """SIGKILL three times at different moments; weights and metrics.jsonl are bit for bit those of the whole run."""
    values = [str(DEBUG), f"data.train={PHOTOS}", "data.val=[]", "run.steps=40", "run.log_every=3", "run.save_every=4"]
    values += ["data.size=32", "data.batch_size=4", "optimizer.warmup=2", *QUANTIZERS["vq"]]
    log = tmp_path / "log"
    run_prepared("vistok.train", [*values, f"run.out={tmp_path / 'whole'}"], log)
    out = tmp_path / "killed"
    for target in (1, 5, 9):
        process = start_prepared("vistok.train", [*values, f"run.out={out}"], log)
        while process.is_alive() and len(read_lines(out)) < target:
            time.sleep(0.002)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, target
    run_prepared("vistok.train", [*values, f"run.out={out}"], log)
    assert (out / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    exported = [(folder / "export" / "model.safetensors").read_bytes() for folder in (out, tmp_path / "whole")]
    assert exported[0] == exported[1]


def read_lines(out):
    path = out / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


WORKER = """
import hashlib, sys
from pathlib import Path
import vistok.train.loop as loop
from vistok.train.config_file import read_config

save = loop.save_checkpoint

def save_and_note_codes(accelerator, folder, step, keep, facts):
    model = accelerator.unwrap_model(accelerator._models[0])
    state = model.quantizer.state_dict()
    digest = hashlib.sha256(b"".join(state[name].numpy().tobytes() for name in sorted(state))).hexdigest()
    Path(f"{folder.parent}-codes-{step}-{accelerator.process_index}").write_text(digest)
    save(accelerator, folder, step, keep, facts)

loop.save_checkpoint = save_and_note_codes
loop.train(read_config(Path(sys.argv[1]), sys.argv[2:]))
"""


@pytest.mark.parametrize("quantizer", ["ema", "vq"])
def test_two_processes_keep_one_codebook_and_equal_one_process(tmp_path, quantizer, perceptual):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    photos = tmp_path / "photos"
    shutil.copytree(PHOTOS, photos)
    (photos / "broken.png").write_bytes(b"no image")
    values = [
        f"data.train={photos}",
        "data.val=[]",
        "run.steps=4",
        "run.log_every=4",
        "run.save_every=2",
        "data.size=32",
    ]
    values += ["data.batch_size=4", "optimizer.warmup=2", *QUANTIZERS[quantizer]]
    if quantizer == "vq":  # and the full recipe
        care = ["codebook.revive_every=3", "codebook.harden_steps=3", "data.batch_size=8"]
        values += [*perceptual, *ADVERSARIAL, *care, "diagnostics={noise_every: 1, curvature_every: 2}"]
    one, two = tmp_path / "1", tmp_path / "2"
    run_script(script, 1, one, values)
    run_script(script, 2, two, values)
    (single,), (double,) = logged(one), logged(two)
    assert double["codebook/tokens"] == single["codebook/tokens"]
    assert double["data/unreadable"] == single["data/unreadable"] > 0
    assert double["loss/total"] == pytest.approx(single["loss/total"], rel=2e-2)
    for step in (2, 4):
        codes = [(tmp_path / f"2-codes-{step}-{rank}").read_text() for rank in range(2)]
        assert codes[0] == codes[1]
    # Resumed at step 2, in the middle of a window of the log and of the counts for revival.
    late = tmp_path / "late"
    shutil.copytree(two, late)
    shutil.rmtree(late / "checkpoints" / "step-0000004")
    shutil.rmtree(late / "export")
    run_script(script, 2, late, values)
    assert (late / "metrics.jsonl").read_bytes() == (two / "metrics.jsonl").read_bytes()
    exported = [(folder / "export" / "model.safetensors").read_bytes() for folder in (two, late)]
    assert exported[0] == exported[1]
    # Two processes take up what one began.
    more = tmp_path / "more"
    shutil.copytree(one, more)
    run_script(script, 2, more, [*values, "run.steps=8"])
    codes = [(tmp_path / f"more-codes-8-{rank}").read_text() for rank in range(2)]
    assert codes[0] == codes[1]


def run_script(script, processes, out, values):
    """Run the worker in some processes."""
    run_ranks(script, [DEBUG, f"run.out={out}", *values], out.parent, processes)
