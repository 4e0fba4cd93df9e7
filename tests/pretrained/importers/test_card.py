"""The card of an imported tokenizer."""

from safetensors.torch import save_file

from golden_weights import golden_case
from vistok.pretrained.importers.import_checkpoint import import_checkpoint


def test_a_file_has_the_published_numbers_of_its_family(tmp_path):
    save_file(golden_case("llamagen/small_f8")[1], tmp_path / "a.safetensors")
    import_checkpoint(tmp_path / "a.safetensors", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
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
