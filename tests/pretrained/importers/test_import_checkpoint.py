"""What cannot be imported is one sentence, and nothing is written."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

import vistok
from golden_weights import golden_case
from samples import ARCHITECTURE, small_tokenizer
from vistok.inference.commands.import_tokenizer import FAMILIES, app
from vistok.pretrained.importers.table import IMPORTERS
from vistok.tokenizer.folder.save_load import load_tokenizer, save_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig

LFS = "is a pointer of git LFS, not the file: run git lfs pull, or download the file."


@pytest.fixture(scope="module")
def weights():
    return golden_case("llamagen/small_f8")[1]


@pytest.fixture
def refusal(tmp_path):
    def call(*arguments):
        called = CliRunner().invoke(app, [*map(str, arguments), "--out", str(tmp_path / "out")])
        assert called.exit_code == 2 and called.stderr.count("\n") == 1
        assert not (tmp_path / "out").exists()
        return called.stderr.removeprefix("import-tokenizer: ").rstrip("\n")

    return call


def saved(tmp_path, weights):
    save_file({name: value.contiguous() for name, value in weights.items()}, tmp_path / "a.safetensors")
    return tmp_path / "a.safetensors"


def test_an_unknown_family_names_the_nearest(refusal, tmp_path, weights):
    sentence = refusal("lamagen", saved(tmp_path, weights))
    assert sentence.startswith("FAMILY 'lamagen' is not a known family: did you mean 'llamagen'? ")


def test_a_checkpoint_of_no_family_says_what_it_holds(refusal, tmp_path):
    path = saved(tmp_path, {f"{name}.weight": torch.zeros(2) for name in ("a.b", "a.c", "b", "c", "d", "e")})
    assert refusal(path) == (
        f"{path} is not recognised as one of {', '.join(IMPORTERS)} by its tensors (a.b, a.c, b.weight, c.weight and 2 "
        "more): if you know the family, name it before the checkpoint."
    )
    assert refusal("llamagen", path) == (
        f"{path} cannot be imported as llamagen: it has no tensor quantize.embedding.weight."
    )


def test_a_checkpoint_of_two_families_asks_for_one(refusal, tmp_path, weights, monkeypatch):
    monkeypatch.setitem(IMPORTERS, "second", IMPORTERS["llamagen"])
    path = saved(tmp_path, weights)
    assert refusal(path) == f"{path} may be of the families llamagen and second: name one before the checkpoint."


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"decoder.norm_out.bias": None}, "it has no tensor decoder.norm_out.bias"),
        ({"quant_conv.weight": torch.zeros(())}, "its tensor quant_conv.weight is a single number"),
        (
            {"encoder.extra": torch.zeros(2), "a": torch.zeros(1)},
            "its tensors a, encoder.extra have no place in the tokenizer",
        ),
        ({"encoder.extra": torch.zeros(2)}, "its tensor encoder.extra has no place in the tokenizer"),
        (
            {"quant_conv.bias": torch.zeros(3)},
            "its tensors quant_conv.weight and quant_conv.bias have the shapes (8, 64, 1, 1) and (3,), which are not those of "
            "one layer",
        ),
        (
            {f"encoder.conv_blocks.0.res.{block}.conv1.weight": None for block in (0, 1)},
            "it has no tensor encoder.conv_blocks.0.res.0.conv1.weight",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(refusal, tmp_path, weights, change, sentence):
    changed = {name: value for name, value in (weights | change).items() if value is not None}
    path = saved(tmp_path, changed)
    assert refusal("llamagen", path) == f"{path} cannot be imported as llamagen: {sentence}."


def test_weights_that_are_not_finite_are_refused(refusal, tmp_path, weights):
    remedy = "that are NaN or infinite: download it again, or import another checkpoint."
    for name in ("quant_conv.bias", "quantize.embedding.weight"):
        path = saved(tmp_path, weights | {name: torch.full_like(weights[name], torch.nan)})
        assert refusal(path) == f"{path} has values in {name} {remedy}"
    path = saved(tmp_path, weights | {name: torch.full_like(weights[name], 1e300, dtype=torch.float64)})
    assert refusal(path) == f"{path} has values in quantizer.codebook.table {remedy}"  # finite in the file alone


def test_pointers_of_git_lfs_are_no_damage(refusal, tmp_path, weights):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 1\n"
    whole = saved(tmp_path, weights)
    (tmp_path / "config.json").write_bytes(pointer)
    assert refusal(whole) == f"{tmp_path / 'config.json'} {LFS}"
    (tmp_path / "config.json").unlink()
    whole.write_bytes(pointer)
    for name in ("a.pt", "a.safetensors"):
        (tmp_path / name).write_bytes(pointer)
        assert refusal(tmp_path / name) == f"{tmp_path / name} {LFS}"
    assert refusal(tmp_path / "a.pt", "--trust-pickle") == f"{tmp_path / 'a.pt'} {LFS}"
    save_tokenizer(tmp_path / "tokenizer", small_tokenizer(), ARCHITECTURE, PreprocessingConfig(size=64), "")
    for name in ("model.safetensors", "config.json"):
        (tmp_path / "tokenizer" / name).write_bytes(pointer)
        with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'tokenizer' / name} {LFS}")):
            load_tokenizer(tmp_path / "tokenizer")


def test_an_output_folder_that_exists_is_left_alone(tmp_path, weights):
    (tmp_path / "out").mkdir()
    path = saved(tmp_path, weights)
    called = CliRunner().invoke(app, [str(path), "--out", str(tmp_path / "out")])
    assert called.exit_code == 2 and list((tmp_path / "out").iterdir()) == []
    assert called.stderr == f"import-tokenizer: --out is {tmp_path}/out, which exists already: give a new folder.\n"


def test_one_checkpoint_at_a_time(refusal):
    assert refusal("llamagen", "a.pt", "b.pt") == "3 arguments are too many: give [FAMILY] CHECKPOINT."


def test_a_family_without_a_checkpoint(refusal):
    sentence = "llamagen is a family, and CHECKPOINT is missing: give llamagen CHECKPOINT."
    assert refusal("llamagen") == sentence


def test_a_checkpoint_of_two_families_that_lacks_a_tensor(refusal, tmp_path):
    taming = golden_case("taming/small")[1]
    del taming["decoder.mid.block_1.conv2.bias"]
    path = saved(tmp_path, taming)
    assert refusal(path) == (
        f"{path} may be of the families taming and ibq, but cannot be imported as taming: it has no tensor "
        "decoder.mid.block_1.conv2.bias."
    )


def test_another_family_says_what_is_missing_for_it(refusal, tmp_path, weights):
    path = saved(tmp_path, weights)
    assert refusal("cosmos", path) == (
        f"{path} is not a checkpoint of cosmos (it has no tensor encoder.down.0.block.0.conv1.weight): its tensors are those "
        "of llamagen."
    )


def test_a_setting_that_does_not_fit_is_named(refusal, tmp_path, weights):
    path = saved(tmp_path, weights)
    said = refusal(path, "--set", "preprocessing.size=64", "--set", "architecture.latent_channels=5")
    assert said.startswith(f"--set is 'architecture.latent_channels=5', which does not fit {path}: ")


def test_the_keys_that_lead_to_the_weights_are_named(refusal, tmp_path, weights):
    codeless = {name: value for name, value in weights.items() if name != "quantize.embedding.weight"}
    path = tmp_path / "a.pt"
    torch.save({"ema": codeless, "model": weights}, path)
    assert refusal("llamagen", path) == (
        f"{path} (its tensors under ema) cannot be imported as llamagen: it has no tensor quantize.embedding.weight."
    )


def test_the_summary_as_json(tmp_path, weights):
    called = CliRunner().invoke(
        app, ["llamagen", str(saved(tmp_path, weights)), "--out", str(tmp_path / "out"), "--json"]
    )
    summary = json.loads(called.stdout)
    assert (summary["tokenizer"], summary["family"]) == (str(tmp_path / "out"), "llamagen")
    assert len(summary["fingerprint"]) == 64


@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("maskgit/small", "encoder.down.0.block.0.conv1.weight"),
        ("open-magvit2/small", "model_ema.encoderdown0block0conv1weight"),
        ("var/small", "encoder.mid.attn_1.qkv.weight"),
        ("emu3/small", "encoder.time_conv.0.conv.conv.weight"),
        ("emu3/small", "quant_conv.conv.weight"),
        ("emu3/small", "encoder.time_res_stack.0.norm1.weight"),
    ],
)
@pytest.mark.parametrize("shape", [(), (4, 4)])
def test_a_tensor_without_the_dimensions_of_its_layer_is_named(refusal, tmp_path, case, name, shape):
    weights = golden_case(case)[1]
    assert name in weights
    path = saved(tmp_path, weights | {name: torch.zeros(shape)})
    (tmp_path / "config.json").write_text(json.dumps({"v_patch_nums": [1, 2, 3, 4, 6, 8]}))
    said = refusal(case.split("/")[0], path)
    assert said.startswith(f"{path} cannot be imported as {case.split('/')[0]}: ") and "not enough" not in said
    if not shape:
        assert f"its tensor {name} is a single number" in said or f"its tensor {name} has 0 dimensions, but" in said


@pytest.mark.parametrize(
    ("case", "name", "key"),
    [
        ("llamagen/small_f8", "quantize.embedding.weight", "quantizer.codebook_size"),
        ("var/small", "quantize.embedding.weight", "quantizer.quantizer.codebook_size"),
        ("unitok/small_vitamin_base", "quantizer.codebooks.0.codebook.weight", "quantizer.quantizer.codebook_size"),
    ],
)
def test_a_codebook_of_one_code(refusal, tmp_path, case, name, key):
    weights, family = golden_case(case)[1], case.split("/")[0]
    path = saved(tmp_path, weights | {name: weights[name][:1]})
    (tmp_path / "config.json").write_text(json.dumps({"v_patch_nums": [1, 2, 3, 4, 6, 8]}))
    assert refusal(family, path) == (
        f"{path} cannot be imported as {family}: its tensor {name} has the shape {(1, weights[name].shape[1])}, so {key} is 1, "
        "but must be at least 2."
    )


def test_a_family_other_than_the_tensors_show_is_said_and_imported(tmp_path):
    path = saved(tmp_path, golden_case("taming/small")[1])
    called = CliRunner().invoke(app, ["chameleon", str(path), "--out", str(tmp_path / "out")])
    sentence = "The tensors look like those of taming and ibq, but were imported as chameleon, as the call said."
    assert (called.exit_code, called.stderr) == (0, f"import-tokenizer: {sentence}\n")
    assert f"- {sentence}\n" in (tmp_path / "out" / "README.md").read_text()


def test_a_checkpoint_without_decoder_is_said(tmp_path, weights):
    encoder = {name: value for name, value in weights.items() if not name.startswith(("decoder", "post_quant_conv"))}
    path = saved(tmp_path, encoder)
    called = CliRunner().invoke(app, ["llamagen", str(path), "--out", str(tmp_path / "out")])
    assert called.exit_code == 0, called.stderr
    assert "decoder     none, as in the checkpoint: images become tokens, but tokens no images\n" in called.stdout
    assert "- The checkpoint has no decoder: " in (tmp_path / "out" / "README.md").read_text()


def test_help_and_page_list_the_families():
    assert sorted(IMPORTERS) == list(FAMILIES)
    text = " ".join((Path(vistok.__file__).parent / "docs" / "import.md").read_text().split())
    listed = text.partition("The families are ")[2].partition(". ")[0]
    assert listed == ", ".join(f"`{name}`" for name in FAMILIES[:-1]) + f" and `{FAMILIES[-1]}`"
    assert ", ".join(FAMILIES) in " ".join(CliRunner().invoke(app, ["--help"]).stdout.split())


def test_titles_fit_the_sentence_of_the_card():
    assert not [each.title for family in IMPORTERS.values() for each in family if "tokenizer" in each.title]


def test_the_resize_of_unitok_is_noted():
    assert IMPORTERS["unitok"][0].notes[0].startswith("The short side is resized to 288 pixels by torchvision's")
