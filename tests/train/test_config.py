from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file

from vistok.tokenizer.model import build_tokenizer
from vistok.train.config import read_config, write_config
from vistok.train.optimizer import claim_parameters

CONFIGS = Path(__file__).parents[2] / "configs"
DEBUG = CONFIGS / "debug.yaml"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_is_valid_and_survives_being_written(path, tmp_path):
    config = read_config(path, ["data.train=photos"])
    write_config(config, tmp_path / "resolved.yaml")
    assert read_config(tmp_path / "resolved.yaml") == config
    model = build_tokenizer(config.model.architecture, config.model.quantizer)
    assert len(claim_parameters(model, config.optimizer)) == len(list(model.parameters()))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_no_shipped_config_points_at_what_users_do_not_have(path):
    with pytest.raises(ValueError, match=r"^data\.train is missing: set it"):
        read_config(path)
    config = read_config(path, ["data.train=photos"])
    assert config.data.val == [] and config.model.start_from is None
    assert config.run.out == Path("runs") / path.stem and "shared" not in path.read_text()


@pytest.mark.parametrize("path", sorted((CONFIGS / "launch").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_launch_config_is_one_of_accelerate(path):
    assert load_config_from_file(str(path)).num_processes > 1


def test_overrides_replace_values():
    config = read_config(
        DEBUG, ["optimizer.lr=1e-3", "run.steps=7", "model.quantizer.codebook_size=64", "data.train=[a, b]"]
    )
    assert (config.optimizer.lr, config.run.steps, config.model.quantizer.codebook_size) == (1e-3, 7, 64)
    assert [source.path for source in config.data.train] == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.step=3", r"run.step is not a known key: did you mean 'steps'\? choose from"),
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
        ("data.train=[{pth: a}]", r"data.train.0.(path is missing|pth is not a known key)"),
        ("losses.l2=-1", r"losses.l2 is -1, but must be"),
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
    with pytest.raises(ValueError, match="bad.yaml is not YAML"):
        read_config(path)
    path.write_text("- 1")
    with pytest.raises(ValueError, match="bad.yaml holds a list, but a config is a mapping"):
        read_config(path)
    path.write_text(yaml.safe_dump({"run": {"steps": 3}}))
    with pytest.raises(ValueError, match=r"(run.out|data) is missing: set it \((run folder|data section)\)"):
        read_config(path)
