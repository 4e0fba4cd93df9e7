"""VQModel of diffusers: with and without attention in the middle, under new and old names."""

import json

import pytest
from golden_checks import check_import
from safetensors.torch import save_file
from typer.testing import CliRunner

from golden_weights import golden_case
from vistok.inference.commands.import_tokenizer import app

OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def saved(tmp_path, weights, settings=None):
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    save_file(weights, path)
    if settings:
        (tmp_path / "config.json").write_text(json.dumps({"_class_name": "VQModel", **settings}))
    return path


@pytest.mark.parametrize("with_config", [True, False])
@pytest.mark.parametrize("name", ["small", "small_with_attention"])
def test_tokens_latents_and_images_are_those_of_the_original(name, with_config, tmp_path):
    case, weights = golden_case(f"diffusers/{name}")
    path = saved(tmp_path, weights, case["hyperparameters"] if with_config else None)
    _, config = check_import(case, path, "diffusers")
    has_attention = name != "small"
    assert config.architecture.encoder.middle_attention == has_attention
    assert config.architecture.pixel_values == ((-1, 1) if has_attention else (0, 1))
    card = " ".join((tmp_path / "tokenizer" / "README.md").read_text().split())
    assert "vistok takes [0, 1] where the middle of the networks has no attention, as in aMUSEd, and [-1, 1]" in card


@pytest.mark.parametrize("are_kernels", [False, True])
def test_old_names_of_attention(are_kernels, tmp_path):
    case, weights = golden_case("diffusers/small_with_attention")
    for new, old in OLD.items():
        for name in [name for name in weights if f".{new}." in name]:
            weight = weights.pop(name)
            is_matrix = are_kernels and weight.ndim == 2
            weights[name.replace(f".{new}.", f".{old}.")] = weight[..., None, None] if is_matrix else weight
    check_import(case, saved(tmp_path, weights), "diffusers")


def refusal(path, tmp_path):
    called = CliRunner().invoke(app, ["diffusers", str(path), "--out", str(tmp_path / "out")])
    assert called.exit_code == 2 and not (tmp_path / "out").exists()
    return called.stderr


def test_settings_that_the_networks_do_not_have_are_refused(tmp_path):
    case, weights = golden_case("diffusers/small")
    path = saved(tmp_path, weights, case["hyperparameters"] | {"norm_num_groups": 16})
    sentence = (
        "imported as diffusers: its config.json has norm_num_groups 16, but it must be 32, as in vistok's networks."
    )
    assert sentence in refusal(path, tmp_path)
