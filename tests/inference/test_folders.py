"""The habits of the hub: from_pretrained, save_pretrained, push_to_hub."""

import re
import shutil

import pytest
import torch
from huggingface_hub import ModelCard

import vistok
from hub_server import TOKEN
from quantizer_table import COMPOSED, DOT, SCALAR, TABLES, name_of
from samples import ARCHITECTURE, small_tokenizer
from vistok.tokenizer.folder.config_json import Origin
from vistok.tokenizer.folder.save_load import save_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig

SOME = [*TABLES[::8], *DOT, SCALAR[1], *COMPOSED[::4]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("values", SOME, ids=name_of)
def test_a_saved_tokenizer_is_the_same(tmp_path, values, dtype):
    preprocessing = PreprocessingConfig(size=32)
    save_tokenizer(tmp_path / "a", small_tokenizer(values).eval(), ARCHITECTURE, preprocessing, "", dtype=dtype)
    first = vistok.Tokenizer.from_pretrained(tmp_path / "a", device="cpu")
    first.save_pretrained(tmp_path / "b")
    second = vistok.load(tmp_path / "b", device="cpu")
    assert second.fingerprint == first.fingerprint and second.config == first.config
    tokens = first.encode(torch.rand(2, 3, 32, 32))
    assert torch.equal(first.decode(tokens, output="tensor"), second.decode(tokens, output="tensor"))
    assert all(torch.equal(value, second.model.state_dict()[name]) for name, value in first.model.state_dict().items())


def test_a_tokenizer_goes_to_the_hub_and_comes_back(hub, tokenizer_folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    tokenizer = vistok.load(tokenizer_folder)
    origin = Origin(family="taming", source="https://example.org", licence="My own", checkpoint="a.ckpt")
    tokenizer.config = tokenizer.config.model_copy(update={"origin": origin})
    url = tokenizer.push_to_hub("me/photo", private=True)
    assert url.startswith(f"{hub.url}/me/photo/")
    assert vistok.Tokenizer.from_pretrained("hf://me/photo").fingerprint == tokenizer.fingerprint
    card = ModelCard(hub.cards[-1])
    assert card.data.to_dict() == {
        "library_name": "vistok",
        "pipeline_tag": "image-to-image",
        "tags": ["visual-tokenizer", "image-tokenizer", "vector-quantization", "vq", "taming"],
        "license": "other",
        "license_name": "my-own",
        "license_link": "https://example.org",
    }
    assert "# photo" in card.text and "vistok.load('hf://me/photo')" in card.text and "`a.ckpt`" in card.text


def test_from_pretrained_takes_the_name_of_a_repository_as_the_hub_does(hub, tokenizer_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    tokenizer = vistok.load(tokenizer_folder)
    tokenizer.push_to_hub("me/photo")
    assert vistok.Tokenizer.from_pretrained("me/photo").fingerprint == tokenizer.fingerprint
    assert vistok.Tokenizer.from_pretrained("me/photo@main").fingerprint == tokenizer.fingerprint
    with pytest.raises(ValueError, match="^There is no tokenizer 'me/photo': did you mean 'hf://me/photo'. "):
        vistok.load("me/photo")
    monkeypatch.chdir(tmp_path)
    hub.requests.clear()
    tokenizer.save_pretrained("me/photo")
    assert vistok.Tokenizer.from_pretrained("me/photo").fingerprint == tokenizer.fingerprint and not hub.requests
    with pytest.raises(ValueError, match=hub.says("hf://bad is no name of the hub: give hf://owner/repo[@revision].")):
        vistok.load("hf://bad")


def test_a_copy_of_the_hub_that_is_damaged_says_what_to_remove(hub, tokenizer_folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    tokenizer = vistok.load(tokenizer_folder)
    tokenizer.push_to_hub("me/photo")
    vistok.load("hf://me/photo")
    (weights,) = (hub.home / "hub").rglob("model.safetensors")
    weights.resolve().write_bytes(weights.read_bytes()[:-1000])
    copy = hub.home / "hub" / "models--me--photo"
    why = f"...model.safetensors is damaged (...)): remove {copy} and load it again."
    with pytest.raises(ValueError, match=hub.says(f"The copy of hf://me/photo on this machine is damaged ({why}")):
        vistok.load("hf://me/photo")
    shutil.rmtree(copy)
    assert vistok.load("hf://me/photo").fingerprint == tokenizer.fingerprint


def test_a_tokenizer_replaces_no_file_of_another_kind(tokenizer_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tokenizer = vistok.load(tokenizer_folder)
    with pytest.raises(ValueError, match=r"^save_pretrained got an empty name: give a folder\.$"):
        tokenizer.save_pretrained("")
    for name in ("README.md", "config.json", "model.safetensors"):
        (tmp_path / name).write_text('{"mine": 1}')
        refused = f"{tmp_path} has a {name} that is not of a tokenizer: give a new folder, or remove the file."
        with pytest.raises(ValueError, match=f"^{re.escape(refused)}$"):
            tokenizer.save_pretrained(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == '{"mine": 1}'
        (tmp_path / name).unlink()
    (tmp_path / "file").write_text("")
    for target in ("file", "file/under/it"):
        refused = f"The tokenizer cannot be saved in {target}: {tmp_path / 'file'} is no folder. Give another."
        with pytest.raises(ValueError, match=f"^{re.escape(refused)}$"):
            tokenizer.save_pretrained(target)
    for _ in range(2):  # beside files of others, and over itself
        tokenizer.save_pretrained(tmp_path)
        assert vistok.load(tmp_path).fingerprint == tokenizer.fingerprint and (tmp_path / "file").exists()


def test_a_hub_that_refuses_an_upload_is_one_sentence(hub, tokenizer_folder, monkeypatch):
    tokenizer = vistok.load(tokenizer_folder)
    for repo, reason in (("me/photo", "the hub answered 401 Unauthorized"), ("me/..", "...")):
        refused = f"{repo} could not be uploaded ({reason}): give OWNER/REPO, and log in with: hf auth login."
        with pytest.raises(ValueError, match=hub.says(refused)):
            tokenizer.push_to_hub(repo)
    for repo in ("", "photo", "no such/name/at all", "hf://me/photo"):
        with pytest.raises(ValueError, match=hub.says(f"push_to_hub got {repo!r}: give OWNER/REPO.")):
            tokenizer.push_to_hub(repo)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    unreachable = "me/photo could not be uploaded: the hub cannot be reached. Connect to the network."
    with pytest.raises(ValueError, match=hub.says(unreachable)):
        tokenizer.push_to_hub("me/photo")
