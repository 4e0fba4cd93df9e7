"""The shipped configs of extra decoders, and what a run of one takes from its tokenizer's folder."""

import json
import shutil

import pytest

from decoder_runs import UNET
from runs import new_process
from samples import PHOTOS
from vistok.pretrained.find import find_tokenizer
from vistok.train.config_file import SHIPPED, config_text, read_config
from vistok.train.run import Run


@pytest.mark.parametrize("path", sorted((SHIPPED / "decoder").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_config_takes_the_model_from_the_tokenizer_and_survives_being_written(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for stage in ("flow", "distill"):
        shutil.copytree(find_tokenizer("photo-f8"), f"runs/decoder-{stage}/export")
    config = read_config(path, ["data.train=photos"])
    stored = json.loads((find_tokenizer("photo-f8") / "config.json").read_text())
    assert config.model.train == [] and config.model.quantizer.levels == stored["quantizer"]["levels"]
    assert config.run.out.as_posix() == f"runs/decoder-{path.stem}" and config.decoder.recipe.name == path.stem
    (tmp_path / "resolved.yaml").write_text(config_text(config))
    assert read_config(tmp_path / "resolved.yaml") == config
    with pytest.raises(ValueError, match=r"^data\.train is missing: set it"):
        read_config(path)


def test_the_shortest_run(tmp_path, tokenizer_folder):
    """Nothing of the tokenizer is written twice; what is written and differs is refused."""
    flow = SHIPPED / "decoder" / "flow.yaml"
    values = [
        f"data.train={PHOTOS}",
        f"model.init_from={tokenizer_folder}",
        f"run.out={tmp_path}",
        UNET,
        "data.workers=0",
    ]
    new_process()
    run = Run(read_config(flow, values))
    assert run.recipe.name == "generative" and run.model.architecture == run.config.model.architecture
    with pytest.raises(ValueError, match="nowhere"):
        read_config(flow, [*values, "model.init_from=nowhere"])
    new_process()
    with pytest.raises(ValueError, match="model.preprocessing is not that of"):
        Run(read_config(flow, [*values, "model.preprocessing={size: 32}"]))
