"""The trainer as a whole: losses, parts that rest, export, errors."""

import pytest
import torch
from safetensors.torch import load_file

from runs import ADVERSARIAL, QUANTIZERS, config, logged
from vistok.tokenizer.errors import WorkFailedError
from vistok.tokenizer.folder.fingerprint import fingerprint
from vistok.tokenizer.folder.save_load import load_tokenizer
from vistok.train.loop import train


def test_micro_batches_change_nothing_but_rounding(tmp_path):
    """Without an adversary or a codebook, the mean of the parts' gradients is the gradient of the whole."""
    one = train(config(tmp_path / "one", *QUANTIZERS["fsq"], "optimizer.name=adamw"))
    two = train(config(tmp_path / "two", *QUANTIZERS["fsq"], "optimizer.name=adamw", "run.gradient_accumulation=2"))
    first, second = (logged(folder.parent) for folder in (one, two))
    for a, b in zip(first, second, strict=True):
        assert b["loss/l2"] == pytest.approx(a["loss/l2"], rel=1e-3)
        assert b["codebook/tokens"] == a["codebook/tokens"]


def test_the_full_recipe_logs_every_term_and_the_discriminator_starts_at_its_step(tmp_path, perceptual):
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
    assert lines[0]["adversarial/factor"] == 0 < lines[3]["adversarial/factor"]
    assert ["discriminator/r1" in line for line in lines] == [False, True, False, True]


def test_frozen_parts_stay_as_they_are(tmp_path, tokenizer_folder):
    before = load_tokenizer(tokenizer_folder)
    architecture = before.config.architecture.model_dump_json()
    values = [f"model.architecture={architecture}", "model.train=[decoder]", f"model.init_from={tokenizer_folder}"]
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
    folder = train(config(tmp_path, *QUANTIZERS["fsq"], "run.ema_decay=0.0"))
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


def test_revival_without_codes_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match="codebook asks for initialisation or revival, but this quantizer has no codes that can be set"
    ):
        train(config(tmp_path, *QUANTIZERS["fsq"], "codebook.revive_every=3"))


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(WorkFailedError, match=r"loss/l2 is (nan|inf) at step \d+: lower optimizer.lr"):
        train(config(tmp_path, *QUANTIZERS["fsq"], "optimizer.lr=1e30", "optimizer.warmup=0"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.size=60", "data.size is 60, but must be a multiple of the downsampling, 8: try 64"),
        (
            "model.preprocessing.size=100",
            "model.preprocessing.size is 100, but must be a multiple of the downsampling, 8",
        ),
        ("losses.l3=1", "losses.l3 has a weight, but this model has no such term"),
        (
            "losses.lpips=1",
            r"this model has no such term: did you mean .perceptual.\? Otherwise choose from charbonnier, ",
        ),
        (
            "losses.perceptual=1",
            "losses.perceptual has a weight, but criteria has no perceptual: add the section criteria.perceptual",
        ),
        (
            "adversarial.discriminator=3",
            "adversarial.discriminator is 3, but must be a section with a name, such as {name: patch",
        ),
        ("losses.adversarial=1", "losses.adversarial has a weight, but there is no adversarial section"),
        ("data.train=", "data.train: no images are named"),
        ("data.train=[{path: 3}]", "data.train.0.path.0 is 3, but"),
        ("data.train=[", r"The value '\[' is not YAML"),
        ("model.quantizer=fsq", "model.quantizer is 'fsq', but must be a section with a name"),
        ("data.train=[{path: x, names: '('}]", r"data.train.0.names: '\(' is not a regular expression"),
    ],
)
def test_mistakes_in_a_config_are_errors_before_anything_is_built(tmp_path, override, message):
    with pytest.raises(ValueError, match=message):
        train(config(tmp_path, override))
    assert not (tmp_path / "checkpoints").exists()


def test_an_adaptive_adversary_needs_a_reconstruction_loss(tmp_path):
    losses = "losses={adversarial: 0.5}"
    with pytest.raises(
        ValueError, match="adversarial.adaptive balances the adversarial loss against reconstruction, but losses has"
    ):
        train(config(tmp_path, "model.quantizer={name: fsq, levels: [5, 5, 5]}", *ADVERSARIAL, losses))


def test_the_card_names_the_rate_that_was_used(tmp_path):
    scaled = "optimizer.scale_lr={rule: linear, base_batch_size: 2}"
    folder = train(config(tmp_path, *QUANTIZERS["fsq"], scaled, "optimizer.lr=1e-3", steps=2))
    assert "at a peak learning rate of 0.002;" in (folder / "README.md").read_text()


def test_an_adversary_needs_a_decoder_that_learns(tmp_path):
    with pytest.raises(
        ValueError, match=r"losses.adversarial has a weight, but model.train is \['encoder'\]: add decoder"
    ):
        train(config(tmp_path, *QUANTIZERS["fsq"], *ADVERSARIAL, "model.train=[encoder]"))
