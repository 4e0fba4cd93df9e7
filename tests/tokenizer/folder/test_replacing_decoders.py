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
from vistok.tokenizer.folder.decoders import decoder_names, other_decoders
from vistok.tokenizer.folder.replacing import NEW_FILES
from vistok.tokenizer.folder.save_load import load_tokenizer, save_tokenizer

NAME = "generative"


def test_saving_over_a_folder_writes_its_decoders_and_leaves_others(folder):
    """Also those of a folder that has changed since the model was loaded from it."""
    model, config = loaded(folder), load_tokenizer(folder).config
    settings = config.architecture, config.preprocessing, ""
    extra = model.decoders[NAME]
    kept = (folder / "decoders" / NAME / "model.safetensors").read_bytes()
    for names, after in ((["b", "c"], ["b", "c", NAME]), (["c"], ["b", "c", NAME]), ([], ["b", "c", NAME])):
        model.decoders.clear()
        model.decoders.update(dict.fromkeys(names, extra))
        save_tokenizer(folder, model, *settings)
        assert decoder_names(folder) == after and list(loaded(folder).decoders) == after
    assert (folder / "decoders" / NAME / "model.safetensors").read_bytes() == kept


def test_the_decoders_of_a_folder_that_a_model_has_not(folder):
    model = load_tokenizer(folder).model
    assert other_decoders(folder, model) == [NAME] and other_decoders(folder, loaded(folder)) == []
    with torch.no_grad():
        next(model.decoder.parameters()).flatten()[0] += 1e-2
    where = f"move it out of {folder / 'decoders'}, or save the tokenizer in another folder."
    message = f"{folder} has the decoder generative, which would not fit this tokenizer or cannot be loaded: {where}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        other_decoders(folder, model)
    (folder / "decoders" / "empty").mkdir()
    message = message.replace("decoder generative", "decoders empty, generative").replace("move it", "move them")
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        other_decoders(folder, model)


def test_a_stop_at_any_moment_leaves_the_old_or_the_new_decoders(original, tmp_path):
    """Old and new tokenizer have a decoder of one name, and one of their own each; that of the old one stays."""
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
        is_new = list(found.decoders) == [NAME, "new", "old"]
        assert is_new or list(found.decoders) == [NAME, "old"]
        assert not found.broken_decoders and torch.equal(found.decode_latent(codes, NAME), expected[is_new])
        seen.append(is_new)
        shutil.rmtree(folder)
        if stops.left > 0:
            break
    assert stops.left > 0 and seen == sorted(seen) and 5 < sum(seen) < len(seen) - 5


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
