"""Settings of a config.json that a stranger wrote."""

import json

import pytest
from safetensors.torch import save_file
from small_checkpoints import small_checkpoint
from typer.testing import CliRunner

from vistok.inference.commands.import_tokenizer import app


@pytest.mark.parametrize(
    ("family", "case", "settings", "sentence"),
    [
        (
            "titok",
            "titok/small_vq8k",
            {"model": {"vq_model": {"use_l2_norm": value}}},
            f"model.vq_model.use_l2_norm {shown}, but it must be true or false",
        )
        for value, shown in (("no", "'no'"), (1, "1"), (None, "null"), ([], "[]"), ("x" * 900, f"'{'x' * 56}..."))
    ]
    + [
        (
            "titok",
            "titok/small_vq8k",
            {"model": {"vq_model": 3}},
            "model.vq_model 3, but it must be a section with model.vq_model.use_l2_norm",
        ),
        (
            "diffusers",
            "diffusers/small",
            {"norm_num_groups": "32"},
            "norm_num_groups '32', but it must be 32, as in vistok's networks",
        ),
        (
            "diffusers",
            "diffusers/small",
            {"act_fn": "mish"},
            "act_fn 'mish', but it must be 'silu', as in vistok's networks",
        ),
    ],
)
def test_a_setting_of_another_type(family, case, settings, sentence, tmp_path):
    path = tmp_path / "a.safetensors"
    save_file(small_checkpoint(case), path)
    (tmp_path / "config.json").write_text(json.dumps(settings))
    called = CliRunner().invoke(app, [family, str(path), "--out", str(tmp_path / "out")])
    expected = f"import-tokenizer: {path} cannot be imported as {family}: its config.json has {sentence}.\n"
    assert (called.exit_code, called.stderr) == (2, expected)
