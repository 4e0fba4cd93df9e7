"""Extra decoders when a folder is saved over: the old or the new ones, whenever it stops."""

import contextlib
import re
import shutil
from pathlib import Path

import pytest
import torch

from decoder_cases import draw, loaded, some_codes
from stops import StopsAt
from vistok.tokenizer import files
from vistok.tokenizer.folder.decoders import decoder_names
from vistok.tokenizer.folder.replacing import NEW_FILES, REMOVED
from vistok.tokenizer.folder.save_load import load_tokenizer, save_tokenizer

NAME = "generative"


def test_saving_over_a_folder_replaces_its_decoders(folder):
    model, config = loaded(folder), load_tokenizer(folder).config
    settings = config.architecture, config.preprocessing, ""
    for before, after in (([NAME], ["b", "c"]), (["b", "c"], ["c"]), (["c"], [])):
        assert decoder_names(folder) == before
        (extra,) = {id(each): each for each in model.decoders.values()}.values() or [None]
        model.decoders.clear()
        model.decoders.update(dict.fromkeys(after, extra))
        save_tokenizer(folder, model, *settings)
        assert decoder_names(folder) == after and list(loaded(folder).decoders) == after
        assert REMOVED not in {path.name for path in folder.rglob("*")}


def test_a_stop_at_any_moment_leaves_the_old_or_the_new_decoders(original, tmp_path):
    """Old and new tokenizer have a decoder of one name, and one of their own each."""
    old, new = loaded(original), loaded(original)
    config = load_tokenizer(original).config
    old.decoders["old"] = old.decoders[NAME]
    draw(new.decoders[NAME])
    new.decoders["new"] = new.decoders[NAME]
    settings = config.architecture, config.preprocessing, ""
    codes, seen = some_codes(old), []
    expected = [model.decode_latent(codes, NAME) for model in (old, new)]
    for number in range(1, 60):
        folder = tmp_path / str(number)
        save_tokenizer(folder, old, *settings)
        stops = StopsAt(number, for_good=True)
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            for name in ("rename", "replace", "unlink", "mkdir"):
                patch.setattr(f"pathlib.Path.{name}", stops.within(getattr(Path, name)))
            patch.setattr(files.shutil, "rmtree", stops.within(files.shutil.rmtree))
            save_tokenizer(folder, new, *settings)
        found = loaded(folder)
        is_new = list(found.decoders) == [NAME, "new"]
        assert is_new or list(found.decoders) == [NAME, "old"]
        assert not found.broken_decoders and torch.equal(found.decode_latent(codes, NAME), expected[is_new])
        seen.append(is_new)
        shutil.rmtree(folder)
        if stops.left > 0:
            break
    assert stops.left > 0 and seen == sorted(seen) and 5 < sum(seen) < len(seen) - 5


def test_a_list_of_folders_to_remove_cannot_name_others(folder, tmp_path):
    victim = tmp_path / "victim" / "mine"
    victim.mkdir(parents=True)
    (folder / NEW_FILES).mkdir()
    outside = ["../victim/mine", str(victim), "decoders/../../victim", "decoders", ".", "", "linked/mine"]
    (folder / "linked").symlink_to(tmp_path / "victim")
    (folder / NEW_FILES / REMOVED).write_text("\n".join(outside))
    assert load_tokenizer(folder) and victim.is_dir() and decoder_names(folder) == [NAME]


def test_a_stopped_save_of_one_decoder_that_cannot_be_finished_is_told(folder, monkeypatch):
    place = folder / "decoders" / NAME
    (place / NEW_FILES).mkdir()
    (place / "config.json").rename(place / NEW_FILES / "config.json")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", refuse)
        assert re.search(
            r"holds a decoder whose saving was stopped, .*\(Permission denied\)", loaded(folder).broken_decoders[NAME]
        )
    assert NAME in loaded(folder).decoders
