"""Public tokenizers by name: downloaded and imported once, then found without the hub."""

import io
import multiprocessing
import os
import shutil
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
from vistok.pretrained import kept
from vistok.pretrained.find import find_tokenizer
from vistok.pretrained.public import PUBLIC
from vistok.tokenizer.errors import WorkFailedError
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


def llamagen_f8():
    return checkpoint("llamagen/small_f8", "model")[1]


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
    assert folder == root / first / f"v{kept.VERSION}" / "llamagen-vq16"
    assert sorted(path.name for path in folder.parent.iterdir()) == ["llamagen-vq16"]
    second = publish(hub, llamagen[1], other=b"new")
    assert find_tokenizer("llamagen-vq16") == folder  # until it is asked for
    hub.requests.clear()
    assert find_tokenizer(f"llamagen-vq16@{first}") == folder and not hub.requests
    newer = find_tokenizer("llamagen-vq16@main")
    assert newer == root / second / f"v{kept.VERSION}" / "llamagen-vq16" and find_tokenizer("llamagen-vq16") == newer
    monkeypatch.setattr(kept, "VERSION", 1000)
    assert find_tokenizer("llamagen-vq16") == root / second / "v1000" / "llamagen-vq16"
    with pytest.raises(
        ValueError,
        match=hub.says(f"llamagen-vq16@v9 has no revision v9 at URL/{LLAMAGEN}: give a branch, ..."),
    ):
        find_tokenizer("llamagen-vq16@v9")


def test_a_name_stays_at_its_own_commit_when_another_of_its_repository_moves(hub, llamagen, monkeypatch):
    first = publish(hub, llamagen[1], **{"vq_ds8_c2i.pt": llamagen_f8()})
    eight = find_tokenizer("llamagen-vq8")
    second = publish(hub, llamagen[1], **{"vq_ds8_c2i.pt": llamagen_f8(), "other": b"new"})
    assert second in find_tokenizer("llamagen-vq16").parts and first in eight.parts  # a first load of a sibling
    hub.requests.clear()
    assert find_tokenizer("llamagen-vq8") == eight and not hub.requests
    publish(hub, llamagen[1], **{"vq_ds8_c2i.pt": llamagen_f8(), "other": b"newer"})
    assert find_tokenizer("llamagen-vq16@main") != find_tokenizer("llamagen-vq8")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert find_tokenizer("llamagen-vq8") == eight
    monkeypatch.setattr(kept, "VERSION", 1000)  # imports the same commit again
    assert find_tokenizer("llamagen-vq8").parents[1] == eight.parents[1]


def test_another_revision_is_never_taken_for_the_name_alone_but_said(hub, llamagen, monkeypatch):
    publish(hub, llamagen[1])
    hub.add(LLAMAGEN, {"vq_ds16_c2i.pt": llamagen[1]}, revision="refs/pr/1")
    hub.add(LLAMAGEN, {"vq_ds16_c2i.pt": llamagen[1]}, revision="v1")
    folder = find_tokenizer("llamagen-vq16@v1")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    remedy = "connect to the network, or give llamagen-vq16@v1, which is imported, or download the checkpoint elsewhere"
    with pytest.raises(ValueError, match=hub.says(f"llamagen-vq16 is not in ... reached: {remedy} and use ...")):
        find_tokenizer("llamagen-vq16")
    shutil.rmtree(hub.home / "hub")
    assert find_tokenizer("llamagen-vq16@v1") == folder


def test_a_damaged_import_says_what_to_remove(hub, llamagen):
    publish(hub, llamagen[1])
    folder = find_tokenizer("llamagen-vq16")
    config, weights = folder / "config.json", folder / "model.safetensors"
    whole = weights.read_bytes()
    again = f"): remove {folder} and load it again."
    for path, content, why in (
        (weights, whole[:-1000], f"{weights} is damaged (...)"),
        (weights, whole[:-4] + b"\xff\xff\xff\x7f", f"{weights} has values in ... that are NaN or infinite"),
        (config, b"no", f"{config} is not JSON (...)"),
        (weights, None, f"{folder} is not a tokenizer folder: it has no model.safetensors"),
    ):
        before = path.read_bytes()
        path.unlink() if content is None else path.write_bytes(content)
        for name in ("llamagen-vq16", "llamagen-vq16@main"):
            said = f"The copy of {name} on this machine is damaged ({why}{again}"
            with pytest.raises(ValueError, match=hub.says(said)):
                vistok.load(name, device="cpu")
        path.write_bytes(before)
    assert vistok.load("llamagen-vq16", device="cpu")


def test_a_disk_that_is_full_while_it_imports_is_named(hub, llamagen, monkeypatch):
    publish(hub, llamagen[1])

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_import", full)
    remedy = "make room, or set HF_HOME to a folder on another disk"
    said = f"llamagen-vq16 could not be stored: the disk of {hub.home} is full: {remedy}."
    with pytest.raises(WorkFailedError, match=hub.says(said)):
        vistok.load("llamagen-vq16")


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
    monkeypatch.setattr(kept, "VERSION", 1000)
    assert find_tokenizer("llamagen-vq16").parent.name == "v1000"


def test_a_hub_that_fails_is_a_hub_that_is_not_there(hub, llamagen, monkeypatch, capfd):
    """Also where only the import is left, without the download in the cache."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    publish(hub, llamagen[1])
    folder = find_tokenizer("llamagen-vq16@main")
    hub.status = 503
    capfd.readouterr()
    for _ in range(2):
        assert find_tokenizer("llamagen-vq16@main") == folder == find_tokenizer("llamagen-vq16")
        said = "the hub answered 503 Service Unavailable; the copy on this machine is used"
        assert capfd.readouterr().err == f"llamagen-vq16@main: {said}\n"
        shutil.rmtree(hub.home / "hub", ignore_errors=True)


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
    version = hub.home / "vistok" / "FoundationVision--LlamaGen" / commit / f"v{kept.VERSION}"
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


def test_processes_at_once_import_once(hub, llamagen):
    publish(hub, llamagen[1])
    context = multiprocessing.get_context("fork")
    start, queue = context.Barrier(6), context.Queue()
    processes = [context.Process(target=load_in_process, args=(start, queue)) for _ in range(6)]
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
