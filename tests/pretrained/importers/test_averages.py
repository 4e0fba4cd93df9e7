"""Where a checkpoint has moving averages, all weights are averages; where it has none, that is said."""

import json

import pytest
import torch
from typer.testing import CliRunner

from golden_weights import golden_case
from vistok.inference.commands.import_tokenizer import app
from vistok.tokenizer.folder.save_load import load_tokenizer

FAMILIES = ("ibq", "open-magvit2", "simvq", "wetok")


def called(tmp_path, weights, *options, content=None):
    torch.save(content or {"state_dict": weights}, tmp_path / "a.ckpt")
    return CliRunner().invoke(app, [*options, str(tmp_path / "a.ckpt"), "--out", str(tmp_path / "out")])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("missing", ["model_ema.encoderconv_inweight", "model_ema.decoderup1block0norm1bias"])
def test_a_missing_average_is_refused(family, missing, tmp_path):
    _, weights = golden_case(f"{family}/small")
    del weights[missing]
    done = called(tmp_path, weights, family)
    assert (done.exit_code, done.stderr) == (
        2,
        f"import-tokenizer: {tmp_path}/a.ckpt (its tensors under state_dict) cannot be imported as {family}: it has no tensor "
        f"{missing}, though other weights have such an average.\n",
    )
    assert not (tmp_path / "out").exists()


def test_counters_without_averages_are_refused(tmp_path):
    _, weights = golden_case("wetok/small")
    live = {name: value for name, value in weights.items() if name in ("model_ema.decay",) or "model_ema." not in name}
    done = called(tmp_path, live, "wetok")
    assert done.exit_code == 2 and "it has no tensor model_ema.encoderconv_inweight, though" in done.stderr


@pytest.mark.parametrize("family", FAMILIES)
def test_the_card_says_that_averages_were_taken(family, tmp_path):
    done = called(tmp_path, golden_case(f"{family}/small")[1])
    assert (done.exit_code, done.stderr) == (0, "")
    frozen = ", but for `quantize.embedding.weight`, which the original does not average" if family == "simvq" else ""
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"- The weights are the moving averages (`model_ema.*`){frozen}.\n" in card


@pytest.mark.parametrize(("family", "title"), [("ibq", "IBQ"), ("simvq", "SimVQ"), ("wetok", "WeTok")])
def test_live_weights_alone_are_imported_and_told(family, title, tmp_path):
    _, weights = golden_case(f"{family}/small")
    live = {name: value for name, value in weights.items() if "model_ema." not in name}
    sentence = (
        f"The live weights were imported: the checkpoint has no moving averages (model_ema.*), which {title} evaluates."
    )
    done = called(tmp_path, live, family, "--json")
    assert done.exit_code == 0 and sentence in json.loads(done.stdout)["doubt"]
    assert sentence in (tmp_path / "out" / "README.md").read_text()
    model = load_tokenizer(tmp_path / "out").model
    assert torch.equal(model.encoder.conv_in.weight, weights["encoder.conv_in.weight"])


def test_live_weights_are_told_without_json(tmp_path):
    _, weights = golden_case("wetok/small")
    done = called(tmp_path, {name: value for name, value in weights.items() if "model_ema." not in name})
    assert done.exit_code == 0 and done.stderr.startswith("import-tokenizer: The live weights were imported: ")


def test_averages_under_a_key_of_the_file_are_told(tmp_path):
    _, weights = golden_case("wetok/small")
    live = {name: value for name, value in weights.items() if "model_ema." not in name}
    done = called(tmp_path, live, content={"ema": live, "model": live})
    assert (done.exit_code, done.stderr) == (0, "")
    assert (
        "- The weights are those under `ema` in the file. They are the averaged ones.\n"
        in (tmp_path / "out" / "README.md").read_text()
    )


def test_a_tensor_that_differs_has_its_name_in_the_file(tmp_path):
    _, weights = golden_case("open-magvit2/small")
    name = "model_ema.decoderup3block0conv2weight"
    done = called(tmp_path, weights | {name: weights[name][:, :-1]}, "open-magvit2")
    assert done.exit_code == 2 and f"its tensor {name} gives the shape" in done.stderr


def test_a_tensor_behind_a_prefix_has_its_name_in_the_file(tmp_path):
    _, weights = golden_case("taming/small")
    inside = {f"first_stage_model.{name}": value for name, value in weights.items()}
    for name in ("decoder.mid.block_1.conv2.bias", "quant_conv.weight"):
        left = {key: value for key, value in inside.items() if key != f"first_stage_model.{name}"}
        done = called(tmp_path, left, "taming")
        assert done.exit_code == 2 and f"it has no tensor first_stage_model.{name}." in done.stderr
