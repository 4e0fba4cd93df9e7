"""The habits of the hub: from_pretrained, save_pretrained, push_to_hub."""

import pytest
import torch
from huggingface_hub import HfApi
from huggingface_hub.errors import LocalTokenNotFoundError

import vistok
from quantizer_table import COMPOSED, DOT, SCALAR, TABLES, name_of
from samples import ARCHITECTURE, small_tokenizer
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


def test_the_hub_gets_a_tokenizer_folder(tokenizer_folder, monkeypatch, tmp_path):
    calls = []

    def upload(self, repo_id, folder_path):
        calls.append((repo_id, vistok.load(folder_path).fingerprint))
        return "https://hub/commit"

    monkeypatch.setattr(HfApi, "create_repo", lambda self, repo, **options: calls.append((repo, options)))
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    tokenizer = vistok.load(tokenizer_folder)
    assert tokenizer.push_to_hub("me/photo", private=True) == "https://hub/commit"
    assert calls == [("me/photo", {"private": True, "exist_ok": True}), ("me/photo", tokenizer.fingerprint)]


@pytest.mark.parametrize("problem", [LocalTokenNotFoundError("no\ntoken."), ConnectionError("no network")])
def test_a_hub_that_refuses_is_one_sentence(tokenizer_folder, monkeypatch, problem):
    def refuse(*arguments, **options):
        raise problem

    monkeypatch.setattr(HfApi, "create_repo", refuse)
    with pytest.raises(
        ValueError, match=r"me/photo could not be uploaded \(no (token|network)\): give OWNER/REPO, and log"
    ):
        vistok.load(tokenizer_folder).push_to_hub("me/photo")
