"""The card of an imported tokenizer."""

import json

import pytest
import torch
from safetensors.torch import save_file
from small_checkpoints import small_checkpoint
from typer.testing import CliRunner

from golden_weights import golden_case
from vistok.inference.commands.import_tokenizer import app
from vistok.pretrained.importers.import_checkpoint import import_checkpoint


def test_a_file_has_the_published_numbers_of_its_family(tmp_path):
    save_file(golden_case("llamagen/small_f8")[1], tmp_path / "a.safetensors")
    import_checkpoint(tmp_path / "a.safetensors", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text().partition("\n<!-- vistok ")[0]
    _, _, section = card.partition("## Published numbers of this family\n\n")
    assert section.splitlines() == [
        "This checkpoint may be one of these, or another.",
        "",
        "- llamagen-vq16: rFID 2.19 (https://github.com/FoundationVision/LlamaGen)",
        "- llamagen-vq8: rFID 0.59 (https://github.com/FoundationVision/LlamaGen)",
    ]
    assert 'license: "mit"' in card and "base_model" not in card


def test_a_family_without_numbers_has_no_section(tmp_path):
    save_file(golden_case("muse/small")[1], tmp_path / "a.safetensors")
    import_checkpoint(tmp_path / "a.safetensors", tmp_path / "out", "muse")
    assert "Published" not in (tmp_path / "out" / "README.md").read_text()


def test_values_of_other_types_are_said_to_be_converted(tmp_path):
    weights = small_checkpoint("titok/small_vq8k")
    names = sorted(weights)
    types = dict(zip(names, [torch.float64, torch.float16, torch.int64, torch.float8_e4m3fn], strict=False))
    save_file({name: weights[name].to(types.get(name, torch.bfloat16)) for name in names}, tmp_path / "a.safetensors")
    import_checkpoint(tmp_path / "a.safetensors", tmp_path / "out")
    sentence = (
        f"- Converted to float32: {len(names) - 4} tensors of bfloat16, 1 tensor of float16, 1 tensor of float64, "
        "1 tensor of float8_e4m3fn, 1 tensor of int64.\n"
    )
    assert sentence in (tmp_path / "out" / "README.md").read_text()
    save_file(weights, tmp_path / "b.safetensors")
    import_checkpoint(tmp_path / "b.safetensors", tmp_path / "other")
    assert "Converted" not in (tmp_path / "other" / "README.md").read_text()


@pytest.mark.parametrize("layout", ["taming", "chameleon"])
def test_json_says_what_the_text_says(layout, tmp_path):
    save_file(golden_case("chameleon/small")[1], tmp_path / "a.safetensors")
    call = [layout, str(tmp_path / "a.safetensors"), "--out", str(tmp_path / "out"), "--json"]
    called = CliRunner().invoke(app, call)
    assert (called.exit_code, called.stderr) == (0, "")
    said = json.loads(called.stdout)
    doubt = "The tensors look like those of chameleon, but were imported as taming, as the call said."
    assert said.keys() == {"tokenizer", "family", "fingerprint", "has_decoder", "doubt", "settings"}
    assert (
        said["has_decoder"] is True
        and said["family"] == layout
        and said["doubt"] == (doubt if layout == "taming" else "")
    )
