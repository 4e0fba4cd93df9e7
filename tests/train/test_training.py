"""The trainer as a whole: resume, two processes, export, errors."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import timm
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file, save_file

from samples import PHOTOS
from vistok.tokenizer.weights import fingerprint, load_tokenizer
from vistok.train.config import read_config
from vistok.train.loop import train

DEBUG = Path(__file__).parents[2] / "configs" / "debug.yaml"

QUANTIZERS = {
    "fsq": ["model.quantizer={name: fsq, levels: [5, 5, 5]}", "losses={l2: 1.0}"],
    "ema": ["model.quantizer={name: ema, dim: 8, codebook_size: 32}", "losses={l1: 1.0, commitment: 0.25}"],
    "vq": [
        "model.quantizer={name: vq, dim: 8, codebook_size: 32, similarity: cosine}",
        "codebook={initialise: kmeans, vectors_per_code: 4, revive_every: 2}",
    ],
    "residual": [
        "model.quantizer={name: residual, depth: 3, shared: true, dropout: 0.5, quantizer: {name: simvq, dim: 8, "
        "codebook_size: 32, trained_basis: true}}",
        "codebook={initialise: kmeans, vectors_per_code: 4, revive_every: 2}",
    ],
}


@pytest.fixture(autouse=True)
def fresh_launcher():
    """Let each test have its own precision: accelerate keeps one state a process."""
    AcceleratorState._reset_state(reset_partial_state=True)


ADVERSARIAL = [
    "losses.adversarial=0.1",
    "adversarial={start: 1, ramp: 2, adaptive: true, lecam: 0.1, r1: 1.0, r1_every: 2, discriminator: {name: patch, "
    "channels: 8, layers: 1}}",
]


@pytest.fixture(scope="session")
def perceptual(tmp_path_factory):
    """A perceptual loss over a tiny network with random weights, from a file."""
    path = tmp_path_factory.mktemp("backbone") / "test_resnet.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet").state_dict(), path)
    return ["losses.perceptual=0.1", f"perceptual={{backbone: test_resnet, weights: {path}}}"]


def config(out, *overrides, steps=6):
    shared = [f"data.train={PHOTOS}", "data.val=[]", f"run.out={out}", f"run.steps={steps}", "run.log_every=2"]
    small = ["run.save_every=2", "data.size=32", "data.batch_size=4", "optimizer.warmup=2"]
    return read_config(DEBUG, [*shared, *small, *overrides])


def logged(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_a_run_that_is_taken_up_equals_one_that_never_stopped(tmp_path, quantizer):
    check_resume(tmp_path, *QUANTIZERS[quantizer])


def test_so_does_the_full_recipe_with_micro_batches(tmp_path, perceptual):
    more = ["run.micro_batches=2", "instruments.noise_every=1", "run.log_every=3"]
    check_resume(tmp_path, *QUANTIZERS["vq"], *perceptual, *ADVERSARIAL, *more)


def check_resume(tmp_path, *overrides):
    whole = train(config(tmp_path / "whole", *overrides))
    # Take the run back to its checkpoint of step 4, with later lines in its log, as a kill would leave it.
    late = tmp_path / "late"
    shutil.copytree(tmp_path / "whole", late)
    shutil.rmtree(late / "checkpoints" / "step-0000006")
    shutil.rmtree(late / "export")
    AcceleratorState._reset_state(reset_partial_state=True)
    resumed = train(config(late, *overrides))
    assert (late / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    first, second = (load_file(folder / "model.safetensors") for folder in (whole, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_micro_batches_change_nothing_but_rounding(tmp_path):
    """Without an adversary or a codebook, the mean of the parts' gradients is the gradient of the whole."""
    one = train(config(tmp_path / "one", *QUANTIZERS["fsq"], "optimizer.name=adamw"))
    two = train(config(tmp_path / "two", *QUANTIZERS["fsq"], "optimizer.name=adamw", "run.micro_batches=2"))
    first, second = (logged(folder.parent) for folder in (one, two))
    for a, b in zip(first, second, strict=True):
        assert b["loss/l2"] == pytest.approx(a["loss/l2"], rel=1e-3)
        assert b["codebook/tokens"] == a["codebook/tokens"]


def test_the_full_recipe_logs_every_term_and_the_discriminator_begins_when_told(tmp_path, perceptual):
    train(config(tmp_path, *QUANTIZERS["vq"], *perceptual, *ADVERSARIAL, "run.log_every=1", steps=4))
    lines = logged(tmp_path)
    assert lines[0]["loss/adversarial"] == 0 and "discriminator/loss" not in lines[0]
    for line in lines[1:]:
        assert {
            "loss/perceptual",
            "loss/adversarial",
            "discriminator/loss",
            "discriminator/lecam",
            "discriminator/real",
        } <= set(line)
    assert lines[0]["adversarial/share"] == 0 < lines[3]["adversarial/share"]


def test_frozen_parts_stay_as_they_are(tmp_path, tokenizer_folder):
    before = load_tokenizer(tokenizer_folder)
    architecture = before.config.architecture.model_dump_json()
    values = [f"model.architecture={architecture}", "model.train=[decoder]", f"model.start_from={tokenizer_folder}"]
    values += ["model.quantizer={name: vq, dim: 4, codebook_size: 300}", "losses={l2: 1.0}"]
    after = load_tokenizer(train(config(tmp_path, *values)))
    for name, value in before.model.state_dict().items():
        same = torch.equal(value, after.model.state_dict()[name])
        assert same is not name.startswith("decoder"), name
    assert fingerprint(before.model, before.config) == fingerprint(
        after.model, after.config.model_copy(update={"preprocessing": before.config.preprocessing})
    )


def test_only_the_newest_checkpoints_stay_and_nothing_half_written(tmp_path):
    train(config(tmp_path, *QUANTIZERS["fsq"], "run.keep_checkpoints=2"))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-0000004", "step-0000006"]


def test_export_is_the_average_of_the_weights(tmp_path):
    folder = train(config(tmp_path, *QUANTIZERS["fsq"], "run.weight_average=0.0"))
    exported = load_tokenizer(folder).model.state_dict()
    last = load_file(tmp_path / "checkpoints" / "step-0000006" / "model.safetensors")
    assert all(torch.equal(exported[name], last[name]) for name in exported)
    assert "Trained for 6 steps" in (folder / "README.md").read_text()


def test_bfloat16_trains_with_losses_in_float32(tmp_path):
    train(config(tmp_path, *QUANTIZERS["vq"], "run.precision=bfloat16", steps=2))
    assert all(torch.isfinite(torch.tensor(line["loss/total"])) for line in logged(tmp_path))


def test_one_seed_one_run(tmp_path):
    for name in ("a", "b"):
        train(config(tmp_path / name, *QUANTIZERS["vq"], steps=2))
    train(config(tmp_path / "c", *QUANTIZERS["vq"], "run.seed=1", steps=2))
    assert logged(tmp_path / "a") == logged(tmp_path / "b") != logged(tmp_path / "c")


def test_care_without_codes_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match="codebook asks for initialisation or revival, but this quantizer has no codes that can be set"
    ):
        train(config(tmp_path, *QUANTIZERS["fsq"], "codebook.revive_every=3"))


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(ValueError, match=r"loss/total is (nan|inf) at step \d+: lower optimizer.lr"):
        train(config(tmp_path, *QUANTIZERS["fsq"], "optimizer.lr=1e30", "optimizer.warmup=0"))


def test_what_a_run_depends_on_cannot_change_and_the_rest_is_told(tmp_path, capsys):
    train(config(tmp_path, *QUANTIZERS["fsq"], steps=4))
    AcceleratorState._reset_state(reset_partial_state=True)
    with pytest.raises(
        ValueError, match=r"holds a run with model.quantizer.levels \[5, 5, 5\], not \[5, 5, 7\]: use another"
    ):
        train(config(tmp_path, "model.quantizer={name: fsq, levels: [5, 5, 7]}", "losses={l2: 1.0}", steps=4))
    AcceleratorState._reset_state(reset_partial_state=True)
    with pytest.raises(ValueError, match=r"run.steps is 3, but .*step-0000004 has 4 steps behind it: give more"):
        train(config(tmp_path, *QUANTIZERS["fsq"], steps=3))
    AcceleratorState._reset_state(reset_partial_state=True)
    capsys.readouterr()
    train(config(tmp_path, *QUANTIZERS["fsq"], "optimizer.lr=1e-4", steps=6))
    said = " ".join(capsys.readouterr().out.split())
    assert "this run began with optimizer.lr 0.002 and goes on with 0.0001." in said
    assert [line["step"] for line in logged(tmp_path)] == [2, 4, 6]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.size=60", "data.size is 60, but must be a multiple of the downsampling, 8: try 64"),
        (
            "model.preprocessing.size=100",
            "model.preprocessing.size is 100, but must be a multiple of the downsampling, 8",
        ),
        ("losses.l3=1", "losses.l3 has a weight, but this model has no such term"),
        ("losses.perceptual=1", "losses.perceptual has a weight, but there is no perceptual section"),
        ("losses.adversarial=1", "losses.adversarial has a weight, but there is no adversarial section"),
        ("data.train=", "data.train: no pictures are named"),
        ("data.train=[", r"The value '\[' is not YAML"),
        ("model.quantizer=fsq", "model.quantizer: it is 'fsq', but must be a section with a name"),
        ("data.train=[{path: x, names: '('}]", r"data.train.0.names: '\(' is not a regular expression"),
    ],
)
def test_mistakes_in_a_config_are_told_before_anything_is_built(tmp_path, override, message):
    with pytest.raises(ValueError, match=message):
        train(config(tmp_path, override))
    assert not (tmp_path / "checkpoints").exists()


def test_an_adversary_needs_a_decoder_that_learns(tmp_path):
    with pytest.raises(
        ValueError, match=r"losses.adversarial has a weight, but model.train is \['encoder'\]: add decoder"
    ):
        train(config(tmp_path, *QUANTIZERS["fsq"], *ADVERSARIAL, "model.train=[encoder]"))


def test_a_run_killed_at_any_moment_ends_as_one_that_was_not(tmp_path):
    """SIGKILL three times at different moments; weights and metrics.jsonl are bit for bit those of the whole run."""
    values = [str(DEBUG), f"data.train={PHOTOS}", "data.val=[]", "run.steps=40", "run.log_every=3", "run.save_every=4"]
    values += ["data.size=32", "data.batch_size=4", "optimizer.warmup=2", *QUANTIZERS["vq"]]
    launch = [sys.executable, "-m", "vistok.train", *values]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    subprocess.run([*launch, f"run.out={tmp_path / 'whole'}"], env=environment, check=True, capture_output=True)
    out = tmp_path / "killed"
    for target in (1, 5, 9):
        process = subprocess.Popen([*launch, f"run.out={out}"], env=environment, stdout=subprocess.DEVNULL)
        while process.poll() is None and len(read_lines(out)) < target:
            time.sleep(0.002)
        process.kill()
        process.wait()
    subprocess.run([*launch, f"run.out={out}"], env=environment, check=True, capture_output=True)
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
from vistok.train.config import read_config

save = loop.save_checkpoint

def save_and_note_codes(accelerator, folder, step, keep):
    model = accelerator.unwrap_model(accelerator._models[0])
    state = model.quantizer.state_dict()
    digest = hashlib.sha256(b"".join(state[name].numpy().tobytes() for name in sorted(state))).hexdigest()
    Path(f"{folder.parent}-codes-{step}-{accelerator.process_index}").write_text(digest)
    save(accelerator, folder, step, keep)

loop.save_checkpoint = save_and_note_codes
loop.train(read_config(Path(sys.argv[1]), sys.argv[2:]))
"""


@pytest.mark.parametrize("quantizer", ["ema", "vq"])
def test_two_processes_keep_one_codebook_and_equal_one_process(tmp_path, quantizer, perceptual):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    values = [
        f"data.train={PHOTOS}",
        "data.val=[]",
        "run.steps=4",
        "run.log_every=2",
        "run.save_every=2",
        "data.size=32",
    ]
    values += ["data.batch_size=4", "optimizer.warmup=2", *QUANTIZERS[quantizer]]
    if quantizer == "vq":  # and the full recipe
        values += [*perceptual, *ADVERSARIAL]
    for count in (1, 2):
        launch = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc_per_node={count}",
            str(script),
        ]
        result = subprocess.run(
            [*launch, str(DEBUG), f"run.out={tmp_path / str(count)}", *values],
            env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr[-2000:]
    one, two = (logged(tmp_path / str(count)) for count in (1, 2))
    assert len(one) == len(two) == 2
    for single, double in zip(one, two, strict=True):
        assert double["codebook/tokens"] == single["codebook/tokens"]
        assert double["loss/total"] == pytest.approx(single["loss/total"], rel=2e-2)
    for step in (2, 4):
        codes = [(tmp_path / f"2-codes-{step}-{rank}").read_text() for rank in range(2)]
        assert codes[0] == codes[1]
