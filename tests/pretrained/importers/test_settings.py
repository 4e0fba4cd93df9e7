"""Settings by hand: --set KEY=VALUE."""

import json

import pytest
from safetensors.torch import save_file
from typer.testing import CliRunner

from golden_weights import golden_case
from vistok.inference.commands.import_tokenizer import app
from vistok.pretrained.find import find_tokenizer
from vistok.pretrained.importers.settings import with_settings
from vistok.tokenizer.folder.config_json import read_tokenizer_config

CONFIG = read_tokenizer_config(find_tokenizer("photo-f8"))


def test_settings_are_in_config_and_card(tmp_path):
    save_file(golden_case("llamagen/small_f8")[1], tmp_path / "a.safetensors")
    settings = ["preprocessing.size=512", "architecture.pixel_values=[0,1]", "quantizer.similarity=dot"]
    options = [part for setting in settings for part in ("--set", setting)]
    call = [str(tmp_path / "a.safetensors"), "--out", str(tmp_path / "out"), "--json", *options]
    called = CliRunner().invoke(app, call)
    assert called.exit_code == 0, called.stderr
    assert json.loads(called.stdout)["settings"] == settings
    config = read_tokenizer_config(tmp_path / "out")
    assert config.preprocessing.size == 512 and config.quantizer.similarity == "dot"
    assert config.architecture.pixel_values == (0, 1)
    card = (tmp_path / "out" / "README.md").read_text()
    assert all(f"- Set by hand: `--set {setting}`." in card for setting in settings)


def test_values_are_json_or_text_and_the_last_counts():
    config = with_settings(CONFIG, ["preprocessing.size=128", "preprocessing.size=native"])
    assert config.preprocessing.size == "native"
    assert with_settings(CONFIG, []) is CONFIG


def test_of_a_key_given_twice_the_last_is_told(tmp_path):
    save_file(golden_case("llamagen/small_f8")[1], tmp_path / "a.safetensors")
    given = ["preprocessing.size=512", "quantizer.similarity=dot", "preprocessing.size=128"]
    options = [part for setting in given for part in ("--set", setting)]
    called = CliRunner().invoke(
        app, [str(tmp_path / "a.safetensors"), "--out", str(tmp_path / "out"), "--json", *options]
    )
    assert json.loads(called.stdout)["settings"] == ["preprocessing.size=128", "quantizer.similarity=dot"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "size=512" not in card and "- Set by hand: `--set preprocessing.size=128`." in card


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("preprocessing.sise=512", r"^preprocessing\.sise is not a known key: did you mean 'size'\?"),
        ("preprocesing.size=512", r"^preprocesing is not a known key: did you mean 'preprocessing'\?"),
        ("quantizer.name=vqq", r"^quantizer\.name 'vqq' is not a known quantizer: did you mean 'vq'\?"),
        ("preprocessing.size=-1", r"^preprocessing\.size is -1, but must be"),
        (
            "preprocessing.size",
            r"^--set is 'preprocessing\.size', but must be KEY=VALUE, such as preprocessing\.size=512\.$",
        ),
        (
            "origin.licence=MIT",
            r"^--set is 'origin\.licence=MIT', but origin is what vistok records about the import, not a setting: leave",
        ),
        ("origin=null", r"^--set is 'origin=null', but origin is what vistok records"),
        ("format_version=2", r"^--set is 'format_version=2', but format_version is what vistok records"),
        ("=3", r"^--set is '=3', but must be KEY=VALUE"),
        (
            "preprocessing.size.x=3",
            r"^--set is 'preprocessing\.size\.x=3', but size is a value and has no keys: set all of it",
        ),
    ],
)
def test_settings_that_are_not_allowed(setting, sentence):
    with pytest.raises(ValueError, match=sentence):
        with_settings(CONFIG, [setting])
