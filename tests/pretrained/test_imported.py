"""Public tokenizers by name: downloaded and imported once, then found without the hub."""

import io
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from golden_checks import check_model
from huggingface_hub import ModelCard

import vistok
from golden_weights import golden_case
from samples import noise_image
from vistok.pretrained import imported as module
from vistok.pretrained.find import find_tokenizer
from vistok.pretrained.public import PUBLIC
from vistok.tokenizer.folder.save_load import load_tokenizer

LLAMAGEN = PUBLIC["llamagen-vq16"].repository


def checkpoint(case, wrapper=None):
    """Return a golden case, and its tensors as a file of torch."""
    golden, tensors = golden_case(case)
    file = io.BytesIO()
    torch.save({wrapper: tensors} if wrapper else tensors, file)
    return golden, file.getvalue()


@pytest.fixture(scope="module")
def llamagen():
    return checkpoint("llamagen/small_f16", "model")


def publish(hub, content, **others):
    return hub.add(LLAMAGEN, {"vq_ds16_c2i.pt": content, "vq_ds8_c2i.pt": b"8" * 2000, "README.md": b"", **others})


def test_a_name_is_the_original_token_for_token_and_needs_the_hub_once(hub, llamagen, capfd):
    golden, content = llamagen
    commit = publish(hub, content)
    tokenizer = vistok.load("llamagen-vq16", device="cpu")
    assert f"llamagen-vq16: downloading {round(len(content) / 1e6)} MB from {LLAMAGEN}" in capfd.readouterr().err
    check_model(golden, tokenizer.model)
    origin = tokenizer.config.origin
    assert (origin.family, origin.checkpoint, origin.licence) == ("llamagen", "vq_ds16_c2i.pt", "MIT")
    assert (origin.repository, origin.published) == (f"{LLAMAGEN}@{commit}", {"rfid": 2.19})
    assert not hub.asked("vq_ds8")
    hub.requests.clear()
    again = vistok.load("llamagen-vq16", device="cpu")
    assert again.fingerprint == tokenizer.fingerprint and not hub.requests and capfd.readouterr().err == ""
    assert torch.equal(again.encode(noise_image(64, 64)), tokenizer.encode(noise_image(64, 64)))


def test_the_card_says_where_it_comes_from_and_what_was_published(hub, llamagen):
    commit = publish(hub, llamagen[1])
    card = ModelCard.load(find_tokenizer("llamagen-vq16") / "README.md")
    assert card.data.to_dict() == {
        "library_name": "vistok",
        "pipeline_tag": "image-to-image",
        "tags": ["visual-tokenizer", "image-tokenizer", "vector-quantization", "vq", "llamagen"],
        "license": "mit",
        "base_model": LLAMAGEN,
    }
    assert f"Downloaded from https://huggingface.co/{LLAMAGEN}, commit `{commit}`." in card.text
    assert "rFID 2.19 (https://github.com/FoundationVision/LlamaGen)" in card.text


def test_folders_are_kept_by_repository_commit_and_version_of_the_importers(hub, llamagen, monkeypatch):
    first = publish(hub, llamagen[1])
    folder = find_tokenizer("llamagen-vq16")
    root = hub.home / "vistok" / "FoundationVision--LlamaGen"
    assert folder == root / first / f"v{module.VERSION}" / "llamagen-vq16"
    assert sorted(path.name for path in folder.parent.iterdir()) == ["llamagen-vq16"]
    second = publish(hub, llamagen[1], other=b"new")
    assert find_tokenizer("llamagen-vq16") == folder  # until it is asked for
    hub.requests.clear()
    assert find_tokenizer(f"llamagen-vq16@{first}") == folder and not hub.requests
    newer = find_tokenizer("llamagen-vq16@main")
    assert newer == root / second / f"v{module.VERSION}" / "llamagen-vq16" and find_tokenizer("llamagen-vq16") == newer
    monkeypatch.setattr(module, "VERSION", 1000)
    assert find_tokenizer("llamagen-vq16") == root / second / "v1000" / "llamagen-vq16"
    with pytest.raises(
        ValueError,
        match=hub.says(f"llamagen-vq16@v9 has no revision v9 at URL/{LLAMAGEN}: give a branch, ..."),
    ):
        find_tokenizer("llamagen-vq16@v9")


def test_without_the_hub_an_imported_tokenizer_loads_and_another_says_so(hub, llamagen, monkeypatch):
    publish(hub, llamagen[1])
    folder = find_tokenizer("llamagen-vq16")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert find_tokenizer("llamagen-vq16") == folder
    started = time.monotonic()
    unreachable = "is not in the cache of this machine, and the hub cannot be reached: connect to the network, or"
    with pytest.raises(
        ValueError,
        match=hub.says(f"llamagen-vq8 {unreachable} download the checkpoint elsewhere and use import-tokenizer."),
    ):
        find_tokenizer("llamagen-vq8")
    assert time.monotonic() - started < 5
    # What was downloaded is imported again without the hub, too.
    monkeypatch.setattr(module, "VERSION", 1000)
    assert find_tokenizer("llamagen-vq16").parent.name == "v1000"


def test_a_broken_import_leaves_nothing(hub):
    hub.add(LLAMAGEN, {"vq_ds16_c2i.pt": checkpoint("maskgit/small")[1]})
    cache = hub.home / "hub" / "models--FoundationVision--LlamaGen"
    why = "llamagen-vq16 could not be imported (vq_ds16_c2i.pt is not a checkpoint of llamagen ... maskgit): remove"
    with pytest.raises(
        ValueError,
        match=hub.says(f"{why} {cache} to download it again, or use import-tokenizer on what it holds."),
    ):
        find_tokenizer("llamagen-vq16")
    assert not [path for path in (hub.home / "vistok").rglob("*") if not path.is_dir()]
    assert not list((hub.home / "vistok").rglob(".vistok*"))


def test_what_a_killed_import_leaves_is_replaced(hub, llamagen):
    commit = publish(hub, llamagen[1])
    version = hub.home / "vistok" / "FoundationVision--LlamaGen" / commit / f"v{module.VERSION}"
    for name in ("llamagen-vq16", f"{module.ASIDE}abc"):
        (version / name).mkdir(parents=True)
        (version / name / "model.safetensors").write_bytes(b"half")
    assert load_tokenizer(find_tokenizer("llamagen-vq16"))
    assert [path.name for path in version.iterdir()] == ["llamagen-vq16"]


def load_in_process(start, queue):
    start.wait()
    imports = []
    importing = module._import
    module._import = lambda *arguments: imports.append(importing(*arguments))
    queue.put((len(imports), str(find_tokenizer("llamagen-vq16")), len(imports)))


def test_two_processes_at_once_import_once(hub, llamagen):
    publish(hub, llamagen[1])
    context = multiprocessing.get_context("fork")
    start, queue = context.Barrier(2), context.Queue()
    processes = [context.Process(target=load_in_process, args=(start, queue)) for _ in range(2)]
    for process in processes:
        process.start()
    results = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len({folder for _, folder, _ in results}) == 1 and sum(count for _, _, count in results) == 1


def test_the_command_takes_a_public_name(hub, llamagen, tmp_path):
    publish(hub, llamagen[1])
    noise_image(64, 64).save(tmp_path / "a.png")
    call = [
        sys.executable,
        "-c",
        "from vistok.cli.launch import tokenize_images; tokenize_images()",
        "a.png",
        "--out",
        "tokens",
        "--model",
        "llamagen-vq16",
        "--size",
        "64",
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(vistok.__file__).parents[1])}
    done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("llamagen-vq16: downloading") and (tmp_path / "tokens" / "manifest.json").is_file()


def test_loading_a_tokenizer_that_ships_touches_no_hub(hub):
    program = """
import sys, vistok
vistok.load(), vistok.list_models()
print({name.partition(".")[0] for name in sys.modules} & {"huggingface_hub", "httpx", "httpx2", "requests"})
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(vistok.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()" and not hub.requests
