"""An export is the old or the new one, whole, at any moment."""

import contextlib
import shutil

import pytest
import torch

from compared_tokenizers import save
from decoder_cases import loaded, saved_folder
from runs import FSQ, config, train_again
from stops import StopsAt
from vistok.tokenizer import files
from vistok.tokenizer.folder.config_json import read_tokenizer_config
from vistok.tokenizer.folder.fingerprint import fingerprint
from vistok.tokenizer.folder.save_load import load_tokenizer, save_tokenizer
from vistok.train import export
from vistok.train.export import export_with, exported_step


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_stop_at_any_moment_of_an_export_leaves_the_old_or_the_new_one(tmp_path, monkeypatch, exchanges):
    """At each file that is written, and at each rename and removal of a folder, with and without an atomic exchange."""
    folder = train_again(tmp_path, *FSQ, steps=2)
    model, run_config = load_tokenizer(folder).model, config(tmp_path, *FSQ, steps=9)
    steps = []
    for number in range(1, 30):
        export.export_tokenizer(folder, model, run_config, 1)
        stops = StopsAt(number)
        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            exchange = files._exchanged if exchanges else lambda one, other: False
            patch.setattr(files, "_exchanged", stops.within(exchange))
            patch.setattr("vistok.tokenizer.folder.save_load.write_whole", stops.within(files.write_whole))
            patch.setattr("pathlib.Path.rename", stops.within(type(folder).rename))
            patch.setattr(files.shutil, "rmtree", stops.within(shutil.rmtree))
            export.export_tokenizer(folder, model, run_config, 9)
        files.restore_folder(folder)
        steps.append(exported_step(folder))
        assert f"Trained for {steps[-1]} " in (folder / "README.md").read_text() and load_tokenizer(folder)
        if stops.left > 0:
            break
    assert set(steps) == {1, 9} and len(steps) > 5 and steps == sorted(steps)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_export_keeps_the_origin_of_what_it_started_from_but_not_its_metrics(tmp_path):
    start = save(tmp_path / "start", published={"rfid": 2.19}, size=64)
    model, settings = load_tokenizer(start)
    run_config = config(tmp_path / "run", *FSQ, f"model.init_from={start}")
    export.export_tokenizer(tmp_path / "out", model, run_config, 1)
    kept = read_tokenizer_config(tmp_path / "out").origin
    assert kept.licence == "MIT" and kept == settings.origin.model_copy(update={"published": {}})
    shutil.rmtree(start)
    export.export_tokenizer(tmp_path / "out", model, run_config, 2)
    assert read_tokenizer_config(tmp_path / "out").origin is None, "nobody can tell any more"


def test_a_file_where_the_export_should_be_is_not_touched(tmp_path):
    folder = train_again(tmp_path / "run", *FSQ, steps=2)
    model, run_config = load_tokenizer(folder).model, config(tmp_path, *FSQ)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError):
        export.export_tokenizer(tmp_path / "file", model, run_config, 1)
    assert (tmp_path / "file").read_text() == "mine" and len(list(tmp_path.iterdir())) == 2
    (tmp_path / "link").symlink_to(folder)
    export.export_tokenizer(tmp_path / "link", model, run_config, 1)
    assert (tmp_path / "link").is_symlink() and exported_step(folder) == 1


def test_an_export_keeps_decoders_that_others_put_there(tmp_path):
    """Whether the folder is replaced as a whole, or written to beside files of others."""
    first = saved_folder(tmp_path / "a")
    model, config = load_tokenizer(first)
    place = first / "decoders" / "generative" / "model.safetensors"
    content = place.read_bytes()
    with torch.no_grad():
        next(model.decoder.parameters()).mul_(1.5)
    for _ in range(2):
        export_with(lambda path: save_tokenizer(path, model, config.architecture, config.preprocessing, ""), first)
        assert place.read_bytes() == content
        assert "was trained for another tokenizer" in loaded(first).broken_decoders["generative"]
        assert fingerprint(*load_tokenizer(first)) == fingerprint(model, config)
        (first / "notes.txt").write_text("mine")
