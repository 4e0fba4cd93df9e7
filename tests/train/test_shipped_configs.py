"""Configs by name or path."""

import pytest

from vistok.train.shipped_configs import SHIPPED, find_config, shipped_configs


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
            r"^There is no config 'photo-f9': did you mean 'photo-f8'\? give the path of a YAML file, or the name",
        ),
        (
            "zzz",
            r"^There is no config 'zzz': give the path of a YAML file, or the name of a shipped config \(debug, photo-f8,",
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
