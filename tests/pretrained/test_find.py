"""Tokenizers are found by name, folder or hub name, and every wrong one is one sentence."""

import pytest

from vistok.pretrained.find import built_in_names, find_tokenizer, is_tokenizer_folder, names_tokenizer
from vistok.pretrained.public import PUBLIC

FOLDER = {"config.json": b'{"format_version": 1}', "model.safetensors": b"weights", "README.md": b"card", "other": b""}


def test_folders_that_hold_no_tokenizer_are_no_built_in_names():
    assert built_in_names() == ["photo-f8"]


def test_a_repository_of_the_hub_is_a_folder_of_what_a_tokenizer_needs(hub, monkeypatch):
    hub.add("owner/repo", FOLDER)
    newer = hub.add("owner/repo", FOLDER | {"model.safetensors": b"new"}, "v1")
    folder = find_tokenizer("hf://owner/repo")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert (find_tokenizer("hf://owner/repo@v1") / "model.safetensors").read_bytes() == b"new"
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert find_tokenizer("hf://owner/repo") == folder
    assert find_tokenizer(f"hf://owner/repo@{newer}").name == newer


GIVE = (
    "give a built-in name (photo-f8), a public name such as emu3.5 (vistok.list_models() lists them), a tokenizer ..."
)
NONE = "holds no vistok tokenizer: it has no config.json of one, or no model.safetensors. Checkpoints of other ..."


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("zzz", f"There is no tokenizer 'zzz': {GIVE}"),
        ("Photo_f8", f"There is no tokenizer 'Photo_f8': did you mean 'photo-f8'? Otherwise {GIVE}"),
        ("llamagen_vq-16", f"There is no tokenizer 'llamagen_vq-16': did you mean 'llamagen-vq16'? Otherwise {GIVE}"),
        ("EMU3.5", f"There is no tokenizer 'EMU3.5': did you mean 'emu3.5'? Otherwise {GIVE}"),
        (
            "FoundationVision/LlamaGen",
            "There is no tokenizer 'FoundationVision/LlamaGen': did you mean 'llamagen-vq16'? Otherwise ...",
        ),
        ("me/photos@v1", f"There is no tokenizer 'me/photos@v1': did you mean 'hf://me/photos@v1'? Otherwise {GIVE}"),
        ("runs/a/export", f"There is no tokenizer 'runs/a/export': {GIVE}"),
        ("amused256@main", f"There is no tokenizer 'amused256@main': did you mean 'amused-256'? Otherwise {GIVE}"),
        ("a\0b", "There is no tokenizer 'a\\x00b': ..."),
        ("x" * 5000, "There is no tokenizer 'x...': ..."),
        ("hf://no such name", "hf://no such name is no name of the hub: give hf://owner/repo[@revision]."),
        ("hf://a/b/c", "hf://a/b/c is no name of the hub: ..."),
        (
            "hf://BAAI/Emu3-VisionTokenizer@main",
            "hf://BAAI/Emu3-VisionTokenizer@main holds a checkpoint that vistok imports by its public name: give 'emu3'.",
        ),
        (
            "hf://FoundationVision/LlamaGen",
            "hf://FoundationVision/LlamaGen holds a checkpoint ...: give 'llamagen-vq16' or 'llamagen-vq8'.",
        ),
        ("hf://owner/none", "hf://owner/none is not on the hub, or private: ..., or give a tokenizer folder."),
        ("hf://owner/other", f"hf://owner/other {NONE}"),
        ("hf://owner/half", f"hf://owner/half {NONE}"),
        ("hf://owner/empty", f"hf://owner/empty {NONE}"),
    ],
)
def test_a_name_of_no_tokenizer_is_one_sentence(model, sentence, hub):
    hub.add("owner/other", {"config.json": b'{"model_type": "clip"}', "model.safetensors": b"many gigabytes"})
    hub.add("owner/half", {"config.json": FOLDER["config.json"]})
    hub.add("owner/empty", {})
    with pytest.raises(ValueError, match=hub.says(sentence)):
        find_tokenizer(model)
    assert not hub.asked("model.safetensors")


def test_without_a_network_a_repository_says_so(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    unreachable = "is not in the cache of this machine, and the hub cannot be reached: connect to the network"
    with pytest.raises(ValueError, match=hub.says(f"hf://o/r {unreachable}, or give a tokenizer folder.")):
        find_tokenizer("hf://o/r")


def test_a_tokenizer_folder_goes_before_a_public_name_and_another_folder_does_not(hub, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    name = next(iter(PUBLIC))
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=f"^{name} is not on the hub, or private"):
        find_tokenizer(name)
    (tmp_path / name / "config.json").write_text("{}")
    assert find_tokenizer(name).resolve() == tmp_path / name


def test_a_run_folder_names_its_tokenizer(tmp_path):
    (tmp_path / "config.yaml").write_text("run: {}")
    with pytest.raises(
        ValueError, match=rf"^{tmp_path} is a training run that has exported no tokenizer yet: run export-"
    ):
        find_tokenizer(str(tmp_path))
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=rf"^{tmp_path} is a training run, not a tokenizer: give {tmp_path}/export\.$"):
        find_tokenizer(str(tmp_path))
    assert find_tokenizer(str(tmp_path / "export")) == tmp_path / "export"


def test_what_names_a_tokenizer_rather_than_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in (
        "mine/config.json",
        "mine/model.safetensors",
        "run/config.yaml",
        "run/checkpoints/x",
        "images/config.json",
    ):
        (tmp_path / file).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / file).touch()
    assert all(map(names_tokenizer, ["photo-f8", "hf://owner/repo", "mine", "mine/", "run"]))
    assert not any(map(names_tokenizer, ["images", "mine/config.json", "nothing", "a" * 5000, "\0", ""]))
    (tmp_path / "photo-f8").mkdir()
    assert names_tokenizer("photo-f8") and not is_tokenizer_folder("photo-f8")
