"""VAR's multi-scale tokens, of images that are square and not."""

import json

import pytest
import torch
from golden_checks import check_import
from typer.testing import CliRunner

import vistok
from golden_weights import golden_case, golden_image
from vistok.inference.commands.import_tokenizer import app

SCALES = [1, 2, 3, 4, 6, 8]


def saved(weights, folder, **settings):
    torch.save(weights, folder / "vae.pth")
    if settings:
        (folder / "config.json").write_text(json.dumps(settings))
    return folder / "vae.pth"


def test_tokens_latents_and_images_are_those_of_the_original(tmp_path):
    case, weights = golden_case("var/small")
    path = saved(weights, tmp_path, v_patch_nums=SCALES)
    model, config = check_import(case, path, "var")
    assert config.quantizer.scales == SCALES and config.quantizer.smoother_of_scale == [0, 0, 1, 2, 3, 3]
    assert config.architecture.quantizer_kernel == 3 and config.architecture.encoder.attention == [4]
    tokenizer = vistok.load(str(tmp_path / "tokenizer"), device="cpu")
    for given, shape in zip(case["inputs"], [(1, 1, 1, 130), (1, 1, 1, 93)], strict=True):
        assert [list(size) for size in given["scales"]] == given["scales"]
        image = torch.from_numpy(golden_image(given["seed"], *given["size"])).permute(2, 0, 1)
        tokens = tokenizer.encode(image)
        assert tokens.shape == shape and tokens.flatten().tolist() == given["tokens"]
        assert tokenizer.decode(tokens, output="tensor").shape == (1, 3, *given["size"])
    batch = torch.rand(3, 3, 128, 96)
    assert torch.equal(model.encode(batch), torch.cat([model.encode(each[None]) for each in batch]))


def test_the_published_ten_scales_need_no_settings(tmp_path):
    _, weights = golden_case("var/small")
    weights["quantize.ema_vocab_hit_SV"] = torch.zeros(10, 512)
    for without in ([], ["quantize.ema_vocab_hit_SV"]):
        path = saved({name: value for name, value in weights.items() if name not in without}, tmp_path)
        out = tmp_path / f"out-{len(without)}"
        assert CliRunner().invoke(app, [str(path), "--out", str(out)]).exit_code == 0
        tokenizer = vistok.load(str(out), device="cpu")
        assert tokenizer.config.quantizer.smoother_of_scale == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
        assert tokenizer.grid(300, 400) == (1, 680)  # cropped to 256 x 256


def test_other_scales_must_be_named(tmp_path):
    _, weights = golden_case("var/small")
    called = CliRunner().invoke(app, ["var", str(saved(weights, tmp_path)), "--out", str(tmp_path / "out")])
    assert called.exit_code == 2
    sentence = (
        "it was trained with 6 scales, but 10 are known: give their sides as v_patch_nums in a config.json beside it."
    )
    assert sentence in called.stderr


@pytest.mark.parametrize("name", ["quantize.quant_resi.qresi_ls.3.bias", "encoder.mid.attn_1.qkv.weight"])
def test_a_missing_tensor_is_named(name, tmp_path):
    _, weights = golden_case("var/small")
    weights.pop(name)
    path = saved(weights, tmp_path, v_patch_nums=SCALES)
    called = CliRunner().invoke(app, ["var", str(path), "--out", str(tmp_path / "out")])
    assert called.exit_code == 2 and name.rsplit(".", 1)[0] in called.stderr


@pytest.mark.parametrize("sides", [3, None, "1_2_3", [], [1, 2.5], [1, True], [0, 2], {"1": 2}])
def test_scales_that_are_no_list_of_whole_numbers(sides, tmp_path):
    path = saved(golden_case("var/small")[1], tmp_path, v_patch_nums=sides)
    called = CliRunner().invoke(app, ["var", str(path), "--out", str(tmp_path / "out")])
    shown = "null" if sides is None else repr(sides)
    assert (called.exit_code, called.stderr) == (
        2,
        f"import-tokenizer: {path} cannot be imported as var: its config.json has v_patch_nums {shown}, but it must be a "
        "list of whole numbers from 1, such as [1, 2, 4].\n",
    )


def test_a_missing_tensor_is_told_before_the_scales_are_asked_for(tmp_path):
    weights = golden_case("var/small")[1]
    for name in ("decoder.mid.block_1.conv2.bias", "quantize.quant_resi.qresi_ls.0.bias"):
        path = saved({key: value for key, value in weights.items() if key != name}, tmp_path)
        called = CliRunner().invoke(app, ["var", str(path), "--out", str(tmp_path / "out")])
        expected = f"import-tokenizer: {path} cannot be imported as var: it has no tensor {name}.\n"
        assert (called.exit_code, called.stderr) == (2, expected)
