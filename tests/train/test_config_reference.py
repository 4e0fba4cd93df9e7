"""The reference of all config keys: complete, and readable at a terminal's width."""

import re
from typing import Annotated, Literal

import pytest
from typer.testing import CliRunner

from vistok.tokenizer.config import Choice, Config, ConfigError
from vistok.tokenizer.networks.architectures import ARCHITECTURES
from vistok.tokenizer.quantizers import QUANTIZERS
from vistok.train import config_sections as module
from vistok.train.commands.train_tokenizer import app
from vistok.train.config import TrainConfig
from vistok.train.config_reference import config_reference, keys_text
from vistok.train.config_sections import config_sections


def keys_of(config_class):
    return {key.path for section in config_sections(config_class) for key in section.keys}


def test_every_field_has_a_sentence():
    for section in config_sections(TrainConfig):
        assert section.sentence.endswith("."), section.path
        assert all(re.search(r"[.;)]$", key.sentence) for key in section.keys), section


def test_every_key_appears():
    keys = keys_of(TrainConfig)
    assert {
        "run.out",
        "data.train.path",
        "losses",
        "optimizer.rules.pattern",
        "model.architecture.decoder.blocks",
    } <= keys
    for table, path in ((QUANTIZERS, "model.quantizer"), (ARCHITECTURES, "model.architecture")):
        for config_class in table.values():
            assert {f"{path}.{name}" for name in config_class.model_fields} <= keys
    markdown = config_reference(TrainConfig)
    assert keys == set(re.findall(r"^\| `([^`]*)` \|", markdown, re.MULTILINE))
    assert all(f"## {path}.{name}\n" in markdown for name in QUANTIZERS for path in ["model.quantizer"])
    for line in markdown.splitlines():
        assert not line.startswith("|") or len(re.findall(r"(?<!\\)\|", line)) == 5, line


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_terminal_shows_all_but_what_is_chosen_by_name(width):
    text = keys_text(TrainConfig, "", width)
    assert max(map(len, text.splitlines())) <= width
    shown = {path for path in keys_of(TrainConfig) if re.search(rf"^  {re.escape(path)}: ", text, re.MULTILINE)}
    hidden = keys_of(TrainConfig) - shown
    assert "model.quantizer" in shown and "model.quantizer.dim" in hidden
    assert all(
        re.match(
            r"(model\.(quantizer|architecture)|adversarial\.discriminator|criteria|decoder\.(network|recipe))\.", path
        )
        for path in hidden
    )


class Inner(Config):
    """Inner keys, of which there are few."""

    size: Annotated[int, "px"] = 3
    """Size, | in pixels."""


class Fruit(Config):
    """A fruit."""

    name: Literal["fruit"] = "fruit"
    """Kind."""
    sweet: bool = True
    """Whether it is sweet."""


class Box(Config):
    """A box.

    And more of it.
    """

    name: Literal["box"] = "box"
    """Kind."""
    inside: Annotated[Config, Choice({"fruit": Fruit})] | None = None
    """What is in it."""


class Whole(Config):
    """Everything."""

    inner: Inner = Inner()
    thing: Annotated[Config, Choice({"fruit": Fruit, "box": Box})]
    """One thing."""
    criteria: dict[str, Config] = {}
    """Sections by name."""


def test_a_small_config_is_shown_whole(monkeypatch):
    monkeypatch.setattr(module, "CRITERIA", {"box": Box})
    assert (
        keys_text(Whole, "", 80)
        == """\
Everything.
  inner: section (default: its defaults)
      Inner keys, of which there are few.
  thing: section by name: fruit, box (required)
      One thing.
  criteria: section by name: box (default: {})
      Sections by name.

inner: Inner keys, of which there are few.
  inner.size: whole number (default: 3)
      Size, | in pixels."""
    )
    assert (
        keys_text(Whole, "thing.box", 80)
        == """\
thing.box: A box.
  thing.name: box (default: box)
      Kind.
  thing.inside: section by name: fruit, or none (default: none)
      What is in it."""
    )
    assert "\n| `inner.size` | whole number | 3 | Size, \\| in pixels. |\n" in config_reference(Whole)


def test_sections_by_name_of_a_table_are_shown(monkeypatch):
    monkeypatch.setattr(module, "CRITERIA", {"fruit": Fruit})
    assert {"criteria.fruit.sweet", "criteria"} <= keys_of(Whole)
    assert "criteria.fruit: A fruit." in keys_text(Whole, "criteria.fruit", 80)


def test_one_key_is_shown_alone():
    assert keys_text(TrainConfig, "run.steps", 80).splitlines()[1:] == [
        "  run.steps: whole number, at least 1 (required)",
        "      Optimizer steps of the whole run.",
    ]
    assert keys_text(TrainConfig, "model.quantizer.fsq.levels", 80).startswith("model.quantizer.fsq: ")
    assert keys_text(TrainConfig, "model.quantizer.codebook_size", 80).count("model.quantizer.codebook_size: ") > 3


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("data.train", "list of sections (required)"),
        ("data.short_sides", "list of whole numbers, at least 1, or none (default: none)"),
        ("data.train.split", "list of 2 numbers, at least 0, at most 1 (default: [0.0, 1.0])"),
        ("data.on_error", "skip or stop (default: skip)"),
        ("run.precision", "float32, bfloat16, float16 or auto (default: float32)"),
        ("losses", "section of numbers, at least 0 (required)"),
        ("model.preprocessing.size", "whole number, at least 1, at most 16384, native, or text (default: 256)"),
        ("model.train", "list of encoder, quantizer or decoder (default: [encoder, quantizer, decoder])"),
    ],
)
def test_a_type_is_said_in_words(path, words):
    assert f"  {path}: {words}\n" in keys_text(TrainConfig, path, 200)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("optimiser.lr", "optimiser.lr is not a known key: did you mean 'optimizer.lr'?"),
        ("learning_rate", "learning_rate is not a known key: did you mean 'optimizer.lr'?"),
        (
            "model.quantizer.codebook_siz",
            "model.quantizer.codebook_siz is not a known key: did you mean 'codebook_size'?",
        ),
        ("model.quantizer.vqq", "model.quantizer.vqq is not a known key: did you mean 'vq'?"),
        ("zzz", "zzz is not a known key: choose from adversarial, "),
        ("run.zzz", "run.zzz is not a known key: choose from "),
        ("run.", "run. is not a known key: choose from activation_checkpointing, "),
        (
            "run.out.x",
            "run.out.x is not a known key: did you mean 'out'? Otherwise choose from activation_checkpointing, ",
        ),
        ("losses.l2", "losses.l2 is not a known key: did you mean 'losses'? Otherwise choose from adversarial, "),
        (
            "model.quantizer.vq.dmi",
            "model.quantizer.vq.dmi is not a known key: did you mean 'dim'? Otherwise choose from ",
        ),
    ],
)
def test_a_key_that_does_not_exist_is_one_sentence(path, sentence):
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}"):
        keys_text(TrainConfig, path, 80)


def test_the_command_prints_them(monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    for arguments, path in (
        (["--keys"], ""),
        (["--keys", "optimizer"], "optimizer"),
        (["model.quantizer.vq", "--keys"], "model.quantizer.vq"),
    ):
        result = CliRunner().invoke(app, arguments)
        assert (result.exit_code, result.stdout) == (0, keys_text(TrainConfig, path, 70) + "\n")
    result = CliRunner().invoke(app, ["--keys", "zzz"])
    assert result.exit_code == 2 and result.stderr.startswith("train-tokenizer: zzz is not a known key")
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 2 and result.stderr.rstrip().endswith("Missing argument 'CONFIG'.")
