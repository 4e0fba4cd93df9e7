"""Configs: found by name or path, read with overrides, and every error one sentence."""

from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file

from vistok.tokenizer.model import build_tokenizer
from vistok.train.config_file import SHIPPED, config_text, find_config, read_config, shipped_configs
from vistok.train.optimizer.routing import assign_parameters

DEBUG = SHIPPED / "debug.yaml"


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_is_valid_and_survives_being_written(path, tmp_path):
    config = read_config(path, ["data.train=photos"])
    (tmp_path / "resolved.yaml").write_text(config_text(config))
    assert read_config(tmp_path / "resolved.yaml") == config
    model = build_tokenizer(config.model.architecture, config.model.quantizer)
    assert len(assign_parameters(model, config.optimizer)) == len(list(model.parameters()))


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_no_shipped_config_points_at_what_users_do_not_have(path):
    with pytest.raises(ValueError, match=r"^data\.train is missing: set it"):
        read_config(path)
    config = read_config(path, ["data.train=photos"])
    assert config.data.val == [] and config.model.init_from is None
    assert config.run.out == Path("runs") / path.stem and "shared" not in path.read_text()


@pytest.mark.parametrize("path", sorted((SHIPPED / "launch").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_launch_config_is_one_of_accelerate(path):
    assert load_config_from_file(str(path)).num_processes > 1


def test_overrides_replace_values():
    config = read_config(
        DEBUG, ["optimizer.lr=1e-3", "run.steps=7", "model.quantizer.codebook_size=64", "data.train=[a, b]"]
    )
    assert (config.optimizer.lr, config.run.steps, config.model.quantizer.codebook_size) == (1e-3, 7, 64)
    assert [source.path for source in config.data.train] == [["a"], ["b"]]
    assert read_config(DEBUG, ["data.train=2024-01-31", "run.steps=1e3"]).run.steps == 1000


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.step=3", r"run.step is not a known key: did you mean 'steps'\? Otherwise choose from"),
        ("optimiser.lr=3", r"optimiser is not a known key: did you mean 'optimizer'"),
        ("run.steps=many", r"run.steps is 'many', but must be a whole number\."),
        ("run.steps=0", r"run.steps is 0, but must be at least 1\."),
        ("model.quantizer.name=vqq", r"model.quantizer.name 'vqq' is not a known quantizer: did you mean 'vq'"),
        (
            "model.quantizer.codebooksize=3",
            r"model.quantizer.codebooksize is not a known key: did you mean 'codebook_size'",
        ),
        ("optimizer.lr=.nan", r"optimizer.lr is nan, but must be a finite number\."),
        ("run.steps", r"Override 'run.steps' is not of the form section.key=value"),
        ("run.steps.more=1", r"Override 'run.steps.more=1' goes through 'steps', which is a value"),
        ("data.train=[]", r"data.train is \[\], but must be"),
        ("data.train=3", r"data.train.0.path.0 is 3, but must be text\."),
        ("data.train=[{pth: a}]", r"data.train.0.(path is missing|pth is not a known key)"),
        ("losses.l2=-1", r"losses.l2 is -1, but must be"),
        ("run.seed=-1", r"run.seed is -1, but must be at least 0\."),
        ("run.seed=4294967296", r"run.seed is 4294967296, but must be below 4294967296\."),
        (".run=3", r"Override '\.run=3' is not of the form section.key=value"),
        ("run..steps=3", r"Override 'run\.\.steps=3' is not of the form section.key=value"),
        ("run.=3", r"Override 'run\.=3' is not of the form section.key=value"),
        (
            "run={steps: 1, steps: 2}",
            r"is not YAML \(the key 'steps' comes twice in its section, line 1, column 12\): correct",
        ),
        (
            "run.steps={a: 1",
            r"is not YAML \(expected ',' or '}', but got '<stream end>', line 1, column 6\): correct it",
        ),
        ("run.steps=" + "[" * 3000, r"is not YAML \(it is nested too deeply, or within itself\): correct it"),
        ("run.steps=2020-13-01", r"run.steps is '2020-13-01', but must be a whole number\."),
        ("run.steps=2020-12-01", r"run.steps is '2020-12-01', but must be a whole number\."),
    ],
)
def test_a_wrong_value_is_one_sentence(override, message):
    with pytest.raises(ValueError, match=message):
        read_config(DEBUG, ["data.train=photos", override])


def test_a_wrong_file_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="There is no config .*nothing.yaml.: .*give the path of a YAML file"):
        read_config(tmp_path / "nothing.yaml")
    path = tmp_path / "bad.yaml"
    path.write_text("run: [")
    with pytest.raises(ValueError, match=r"bad.yaml is not YAML \(.*, line 1, column 7\): correct it\.$"):
        read_config(path)
    path.write_text(DEBUG.read_text() + "data: {size: 64}\n")
    with pytest.raises(ValueError, match=r"bad.yaml is not YAML \(the key 'data' comes twice in its section, line "):
        read_config(path)
    path.write_bytes(b"\xff\xd8\xff\xe0 a JPEG")
    with pytest.raises(ValueError, match=r"bad.yaml is not YAML \(unacceptable character"):
        read_config(path)
    path.write_text("# nothing yet\n")
    with pytest.raises(ValueError, match="bad.yaml is empty, but a config has sections such as run, data and model"):
        read_config(path)
    path.write_text("run: {}\n---\nrun: {}\n")
    with pytest.raises(
        ValueError, match=r"expected a single document in the stream, but found another document, line 2"
    ):
        read_config(path)
    path.write_text("[1]")
    with pytest.raises(ValueError, match=r"bad.yaml holds \[1\], but a config is a mapping of sections"):
        read_config(path)
    path.write_text(yaml.safe_dump({"run": {"steps": 3}}))
    with pytest.raises(ValueError, match=r"(run.out|data) is missing: set it \((run folder|data section)\)"):
        read_config(path)


def test_sections_can_share_values_by_anchors(tmp_path):
    path = tmp_path / "anchors.yaml"
    text = (
        DEBUG.read_text()
        .replace("encoder: {", "encoder: &sides {")
        .replace(
            "decoder: {channels: [32, 32], blocks: [1, 1], middle: false}", "decoder: {<<: *sides, blocks: [2, 2]}"
        )
    )
    assert "<<: *sides" in text
    path.write_text(text)
    assert read_config(path, ["data.train=photos"]).model.architecture.decoder.blocks == [2, 2]


def test_every_file_but_those_of_accelerate_has_a_name():
    names = shipped_configs()
    assert {"debug", "photo-f8", "vqgan-f16"} <= set(names) and not any("launch" in name for name in names)
    for name in names:
        assert find_config(name) == SHIPPED / f"{name}.yaml" and find_config(name).is_file()


@pytest.mark.parametrize("given", ["debug", "debug.yaml", "configs/debug.yaml", "configs/debug"])
def test_a_shipped_config_is_found_in_any_directory(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(given) == SHIPPED / "debug.yaml"


def test_a_file_that_is_there_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    for name in ("debug", "debug.yaml", "configs/debug.yaml"):
        (tmp_path / name).write_text("mine")
        assert find_config(name).read_text() == "mine"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "photo-f9",
            r"^There is no config 'photo-f9': did you mean 'photo-f8'\? Otherwise give the path of a YAML file, or the name",
        ),
        (
            "zzz",
            r"^There is no config 'zzz': give the path of a YAML file, or .* a shipped config \(debug, decoder/distill, ",
        ),
        ("", r"is a folder: give the path of a YAML file in it\.$"),
        ("launch/eight-gpus", r"^There is no config 'launch/eight-gpus': "),
        ("../configs/debug", r"^There is no config '../configs/debug': "),
    ],
)
def test_what_is_not_there_is_one_sentence(given, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        find_config(given)
