"""Tokenizers are found by name, folder or hub name, and every wrong one is one sentence."""

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

import vistok.pretrained.find
from vistok.pretrained.find import built_in_names, find_tokenizer, is_tokenizer_folder, names_tokenizer


def test_folders_that_hold_no_tokenizer_are_no_built_in_names():
    assert built_in_names() == ["photo-f8"]


def test_the_hub_is_not_asked_first_where_it_cannot_be_reached(monkeypatch, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    asked, cached = {}, {"owner/repo"}

    def download(repository, **options):
        asked.clear()
        asked.update(options, repository=repository)
        if options.get("local_files_only") and repository not in cached:
            raise LocalEntryNotFoundError("not here")
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    for reachable in (True, False):
        monkeypatch.setattr(vistok.pretrained.find, "hub_is_reachable", lambda reachable=reachable: reachable)
        assert find_tokenizer("hf://owner/repo@v1") == tmp_path
        assert asked.get("local_files_only", False) is not reachable
        assert (asked["repository"], asked["revision"]) == ("owner/repo", "v1")
    find_tokenizer("hf://owner/repo")
    assert asked["revision"] is None
    # A hub that is only slow is asked for what is not on this machine.
    assert find_tokenizer("hf://owner/other") == tmp_path and "local_files_only" not in asked


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (
            "zzz",
            r"There is no tokenizer 'zzz': give a built-in name \(photo-f8\), a tokenizer folder, or hf://owner/repo",
        ),
        ("Photo_f8", r"There is no tokenizer 'Photo_f8': did you mean 'photo-f8'\? Otherwise give a built-in name"),
        ("a\0b", r"There is no tokenizer 'a\\x00b': give"),
        ("x" * 5000, r"There is no tokenizer 'x+': give"),
        ("hf://no such name", r"hf://no such name is no name of the hub: give hf://owner/repo\[@revision\]\.$"),
        ("hf://a/b/c", r"hf://a/b/c is no name of the hub: give"),
        (
            "hf://owner/none",
            r"hf://owner/none is not in the cache of this machine, and the hub cannot be reached: connect to the network, or",
        ),
    ],
)
def test_a_name_of_no_tokenizer_is_one_sentence(model, sentence, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr(vistok.pretrained.find, "hub_is_reachable", lambda: False)
    with pytest.raises(ValueError, match=f"^{sentence}"):
        find_tokenizer(model)


def test_what_the_hub_refuses_is_one_sentence(monkeypatch, tmp_path):
    def download(*arguments, **options):
        raise OSError("401 Client Error.\nRepository not found for url: ...")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr(vistok.pretrained.find, "hub_is_reachable", lambda: True)
    with pytest.raises(
        ValueError,
        match=r"^hf://o/r@v could not be downloaded \(401 Client Error\): check the name, the revision and your",
    ):
        find_tokenizer("hf://o/r@v")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *a, **k: str(tmp_path))
    with pytest.raises(
        ValueError, match=r"^hf://o/r holds no vistok tokenizer: it has no config.json\. Checkpoints of"
    ):
        find_tokenizer("hf://o/r")


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
