"""Which settings of a run may change when it is resumed, key by key."""

import pytest

from runs import ADVERSARIAL, QUANTIZERS, config, new_process
from vistok.train.allowed_changes import FREE, WARNED, WARNED_SECTIONS, changes
from vistok.train.config import TrainConfig, parse_train_config
from vistok.train.config_file import apply_override
from vistok.train.loop import train

PERCEPTUAL = ["losses.perceptual=0.1", "criteria.perceptual={backbone: test_resnet, weights: w.pt}"]
LATENT = ["losses.latent=0.1", "criteria.latent.tokenizer=photo-f8"]
OTHERWISE = {
    # a key, another value, and whether the change is silent, a warning, or refused
    "run.out": ("elsewhere", "free"),
    "run.steps": (9, "warned"),
    "run.seed": (1, "refused"),
    "run.precision": ("bfloat16", "warned"),
    "run.gradient_accumulation": (2, "warned"),
    "run.trackers": ([], "free"),
    "run.memory_format": ("contiguous", "warned"),
    "run.compile": (True, "warned"),
    "run.activation_checkpointing": (True, "warned"),
    "run.max_skipped_steps": (3, "free"),
    "run.log_every": (1, "free"),
    "run.save_every": (1, "free"),
    "run.keep_checkpoints": (1, "free"),
    "run.export_precision": ("float16", "free"),
    "run.export_training_state": (True, "free"),
    "run.validate_every": (3, "free"),
    "run.ema_decay": (0.5, "warned"),
    "data.train": (["elsewhere"], "refused"),
    "data.val": (["elsewhere"], "warned"),
    "data.short_sides": ([64], "refused"),
    "data.size": (64, "refused"),
    "data.batch_size": (8, "refused"),
    "data.workers": (0, "free"),
    "data.flip": (False, "refused"),
    "data.on_error": ("stop", "free"),
    "data.max_unreadable": (0.5, "free"),
    "data.cached_images": (9, "free"),
    "model.architecture.stem": (2, "refused"),
    "model.preprocessing.background": ([1, 2, 3], "refused"),
    "model.train": (["decoder"], "refused"),
    "model.init_from": ("elsewhere", "free"),
    "losses.l2": (0.7, "refused"),
    "losses.l1": (0.7, "refused"),
    "losses.perceptual": (0.7, "refused"),
    "losses.adversarial": (0.7, "refused"),
    "optimizer.name": ("adamw", "refused"),
    "optimizer.lr": (1e-4, "warned"),
    "optimizer.scaling": ("original", "refused"),
    "optimizer.muon_rate": (2.0, "warned"),
    "optimizer.betas": ([0.5, 0.5], "warned"),
    "optimizer.eps": (1e-4, "warned"),
    "optimizer.second_moment": ("centred", "refused"),
    "optimizer.codebook_rows": ("lazy", "refused"),
    "optimizer.momentum": (0.5, "warned"),
    "optimizer.orthogonalization": ("bfloat16", "warned"),
    "optimizer.weight_decay": (0.5, "warned"),
    "optimizer.warmup": (9, "warned"),
    "optimizer.final_lr_ratio": (0.5, "warned"),
    "optimizer.clip_norm": (None, "warned"),
    "optimizer.rules": ([{"pattern": ".*", "use": "adamw"}], "refused"),
    "codebook.initialization": ("kmeans", "refused"),
    "codebook.revive_every": (7, "warned"),
    "diagnostics.update_statistics": (False, "warned"),
    "diagnostics.noise_every": (3, "warned"),
    "diagnostics.curvature_every": (3, "warned"),
    "criteria.perceptual.backbone": ("resnet18", "refused"),
    "criteria.latent.tokenizer": ("elsewhere", "warned"),
    "adversarial.lr": (1e-4, "warned"),
    "adversarial.betas": ([0.1, 0.9], "warned"),
    "adversarial.eps": (1e-4, "warned"),
    "adversarial.clip_norm": (2.0, "warned"),
    "adversarial.start": (9, "refused"),
    "adversarial.lecam": (0.5, "refused"),
    "adversarial.discriminator.channels": (16, "refused"),
}


OF_DECODERS = {
    "decoder.recipe.teacher": ("elsewhere", "free"),
    "decoder.recipe.fake_lr": (1e-3, "warned"),
    "decoder.recipe.steps": (2, "warned"),
    "decoder.recipe.penalty": (1.0, "refused"),
    "decoder.recipe.fake_steps": (3, "refused"),
    "decoder.network.blocks": (3, "refused"),
    "decoder.name": ("other", "refused"),
}
"""The same for a run that trains an extra decoder."""


def changed(values, key, value):
    head, _, rest = key.partition(".")
    return {**values, head: changed(values[head], rest, value) if rest else value}


@pytest.fixture
def whole(tmp_path):
    return config(tmp_path, *QUANTIZERS["fsq"], *ADVERSARIAL, *PERCEPTUAL, *LATENT).model_dump(mode="json")


@pytest.fixture
def of_decoder(tmp_path):
    fgm = "decoder={network: {name: residual_unet}, recipe: {name: fgm, teacher: flow}}"
    values = [QUANTIZERS["fsq"][0], "losses={matching: 1.0}", "model.train=[]", fgm]
    base = config(tmp_path, *QUANTIZERS["fsq"]).model_dump(mode="json")
    for value in [*values, "model.init_from=tokenizer"]:
        apply_override(base, value)
    return parse_train_config(base).model_dump(mode="json")


@pytest.mark.parametrize("key", [*OTHERWISE, *OF_DECODERS])
def test_each_key_is_free_warned_or_refused(request, key):
    whole = request.getfixturevalue("of_decoder" if key in OF_DECODERS else "whole")
    value, expected = (OTHERWISE | OF_DECODERS)[key]
    now = parse_train_config(changed(whole, key, value))
    if expected == "refused":
        with pytest.raises(
            ValueError, match=rf"holds a run with {key}.* .*, not .*: use another run.out, or the value"
        ):
            changes(parse_train_config(whole), now)
    else:
        warnings = changes(parse_train_config(whole), now)
        assert len(warnings) == (expected == "warned")
        assert all(key in warning and "continues with" in warning for warning in warnings)


def test_no_other_key_may_change():
    """Lists that someone else extends are extended here too: so a new key is refused until it is thought about."""
    named = {key: kind for key, (_, kind) in (OTHERWISE | OF_DECODERS).items()}
    assert {key for key, kind in named.items() if kind == "free"} == FREE
    in_sections = {key for key in named if key.startswith(WARNED_SECTIONS)}
    assert {key for key, kind in named.items() if kind == "warned"} - in_sections == WARNED
    assert set(TrainConfig.model_fields) == {key.partition(".")[0] for key in named}


def test_sections_that_no_loss_uses_do_not_count(tmp_path):
    plain = config(tmp_path, *QUANTIZERS["fsq"])
    unused = config(tmp_path, *QUANTIZERS["fsq"], ADVERSARIAL[1], "losses.adversarial=0")
    assert changes(plain, unused) == []


def test_one_folder_written_in_two_ways_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = config(tmp_path, *QUANTIZERS["fsq"], "data.train=photos")
    assert changes(before, config(tmp_path, *QUANTIZERS["fsq"], f"data.train={tmp_path}/./photos")) == []
    with pytest.raises(ValueError, match="holds a run with data.train"):
        changes(before, config(tmp_path, *QUANTIZERS["fsq"], "data.train=other"))


def test_a_folder_of_another_run_is_refused_before_its_first_checkpoint(tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("vistok.train.step.tokenizer_step", stop)
        train(config(tmp_path, *QUANTIZERS["fsq"]))
    assert (tmp_path / "config.yaml").exists() and not (tmp_path / "checkpoints").exists()
    new_process()
    with pytest.raises(ValueError, match=r"holds a run with data.batch_size 4, not 2: use another run.out"):
        train(config(tmp_path, *QUANTIZERS["fsq"], "data.batch_size=2"))
    new_process()
    train(config(tmp_path, *QUANTIZERS["fsq"], "data.workers=0"))
    assert (tmp_path / "export" / "config.json").exists()
