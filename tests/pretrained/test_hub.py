"""Files of the hub: revisions, cache, resumed downloads, and each refusal as its sentence."""

import os
import shutil
import socket
import time

import pytest

from hub_server import STRANGER, TOKEN
from vistok.pretrained import hub as module
from vistok.pretrained import hub_progress
from vistok.pretrained.cache import cache_home
from vistok.pretrained.hub import download
from vistok.pretrained.hub_errors import NoSuchFileError, OutOfReachError, Repository
from vistok.tokenizer.errors import WorkFailedError

NAME = "owner/repo"
LARGE = os.urandom(300_000)
FILES = {"config.json": b"{}", "sub/weights.bin": LARGE, "sub/other.txt": b"other", "weights-1.ckpt": b"one"}


def repository(revision="main"):
    return Repository(NAME, revision, "some-name", "walk")


def refused(hub, sentence, kind=ValueError):
    """Expect an error that says this of some-name."""
    return pytest.raises(kind, match=hub.says(f"some-name {sentence}."))


def test_files_are_those_of_one_commit_of_the_revision(hub):
    first = hub.add(NAME, FILES)
    second = hub.add(NAME, FILES | {"config.json": b'{"new": 1}'}, revision="v2")
    found = download(repository(), ["config.json", "sub/weights.bin"], optional=["README.md", "sub/other.txt"])
    assert found.commit == first == found.folder.name
    assert found.files == ("config.json", "sub/weights.bin", "sub/other.txt")
    assert (found.folder / "sub" / "weights.bin").read_bytes() == LARGE
    for revision in ("v2", second):
        newer = download(repository(revision), ["config.json"])
        assert newer.commit == second and (newer.folder / "config.json").read_bytes() == b'{"new": 1}'


def test_a_pattern_matches_one_file_of_its_folder(hub):
    hub.add(NAME, FILES)
    assert download(repository(), ["*.ckpt"]).files == ("weights-1.ckpt",)
    assert download(repository(), ["sub/*.bin"]).files == ("sub/weights.bin",)
    several = "has several files sub/* (sub/other.txt, sub/weights.bin) at URL/owner/repo: update vistok, or walk"
    with refused(hub, several):
        download(repository(), ["sub/*"])
    with refused(
        hub, "has no file *.bin at revision main of URL/owner/repo: give another revision, or walk", NoSuchFileError
    ):
        download(repository(), ["*.bin"])


def test_a_file_that_is_there_is_not_downloaded_again(hub):
    hub.add(NAME, FILES)
    download(repository(), ["sub/weights.bin"])
    hub.add(NAME, FILES | {"config.json": b"changed"})
    hub.requests.clear()
    again = download(repository(), ["config.json", "sub/weights.bin"])
    assert (again.folder / "config.json").read_bytes() == b"changed"
    assert (again.folder / "sub" / "weights.bin").read_bytes() == LARGE
    assert hub.asked("resolve") and not [request for request in hub.asked("elsewhere") if request.method == "GET"]


def test_a_download_that_is_cut_goes_on_where_it_stopped(hub, monkeypatch, capfd):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    hub.add(NAME, FILES)
    hub.cuts = [100_000, 50_000]
    found = download(repository(), ["sub/weights.bin"])
    assert (found.folder / "sub" / "weights.bin").read_bytes() == LARGE
    ranges = [request.headers.get("range") for request in hub.asked("elsewhere") if request.method == "GET"]
    assert ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert capfd.readouterr().err == "some-name: downloading 1 MB from owner/repo\n"


def test_a_download_that_breaks_off_again_and_again_leaves_no_file(hub, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    hub.add(NAME, FILES)
    hub.cuts = [100_000, *[0] * 20]
    with refused(hub, "could not be downloaded (...): try again, or walk"):
        download(repository(), ["sub/weights.bin"])
    assert not list(hub.home.rglob("weights.bin"))
    hub.cuts = []
    found = download(repository(), ["sub/weights.bin"])
    assert (found.folder / "sub" / "weights.bin").read_bytes() == LARGE


def test_large_files_are_asked_for_elsewhere_without_the_token(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.add(NAME, FILES)
    hub.gated.add(NAME)
    download(repository(), ["sub/weights.bin"])
    assert all(request.headers["authorization"] == f"Bearer {TOKEN}" for request in hub.asked("resolve"))
    elsewhere = hub.asked("elsewhere")
    assert elsewhere and not any("authorization" in request.headers for request in elsewhere)


def test_a_gated_repository_says_where_its_licence_is(hub, monkeypatch):
    hub.add(NAME, FILES)
    hub.gated.add(NAME)
    with refused(hub, "is gated: accept its licence at URL/owner/repo and log in with: hf auth login"):
        download(repository(), ["config.json"])
    monkeypatch.setenv("HF_TOKEN", STRANGER)
    no_access = (
        "is gated, and your account has no access: accept its licence at URL/owner/repo, and wait until it is granted"
    )
    with refused(hub, no_access):
        download(repository(), ["config.json"])


@pytest.mark.parametrize("token", [None, STRANGER])
def test_what_is_not_there_is_named(hub, monkeypatch, token):
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    remedy = "check the name, log in with: hf auth login, or walk"
    with refused(hub, f"is not on the hub, or private: there is no URL/owner/repo that you may read: {remedy}"):
        download(repository(), ["config.json"])
    hub.add(NAME, FILES)
    with refused(hub, "has no revision v9 at URL/owner/repo: give a branch, tag or commit of it, or walk"):
        download(repository("v9"), ["config.json"])
    with refused(
        hub, "has no file gone.bin at revision main of URL/owner/repo: give another revision, or walk", NoSuchFileError
    ):
        download(repository(), ["gone.bin"])
    with refused(hub, "is no name of the hub: give hf://owner/repo[@revision]"):
        download(repository()._replace(name="no such name"), ["config.json"])


def test_a_hub_that_fails_is_one_sentence_or_the_copy_is_used(hub, monkeypatch, capfd):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    hub.add(NAME, FILES)
    hub.status = 401
    with refused(hub, "is refused: the hub does not accept your token: log in with: hf auth login, or walk"):
        download(repository(), ["config.json"])
    answers = {500: "500 Internal Server Error", 503: "503 Service Unavailable", 599: "599"}
    for hub.status, answer in answers.items():
        with refused(hub, f"could not be downloaded (the hub answered {answer}): try again, or walk"):
            download(repository(), ["config.json"])
    hub.status = 200
    whole = download(repository(), ["config.json"])
    capfd.readouterr()
    for hub.status, answer in answers.items():
        assert download(repository(), ["config.json"]) == whole
        said = f"some-name: the hub answered {answer}; the copy on this machine is used\n"
        assert capfd.readouterr().err == said
        with refused(hub, f"could not be downloaded (the hub answered {answer}): try again, or walk", OutOfReachError):
            download(repository(), ["sub/weights.bin"])
    hub.status = 404  # without the hub's own code of what there is not
    not_found = "was not found at revision refs/pr/1 of URL/owner/repo: check the name and the revision, or walk"
    with refused(hub, not_found):
        download(repository("refs/pr/1"), ["config.json"])


def test_without_a_network_the_cache_answers_alone_and_what_is_missing_is_said_within_seconds(hub, monkeypatch):
    commit = hub.add(NAME, FILES)
    download(repository(), ["*.ckpt", "config.json"], ["sub/other.txt"])
    hub.requests.clear()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
    found = download(repository(), ["*.ckpt", "config.json"], ["sub/other.txt", "README.md"])
    assert found.commit == commit and found.files == ("weights-1.ckpt", "config.json", "sub/other.txt")
    started = time.monotonic()
    missing = "is not in the cache of this machine, and the hub cannot be reached: connect to the network, or walk"
    for name, files in ((NAME, ["sub/weights.bin"]), ("owner/never", ["config.json"])):
        with refused(hub, missing):
            download(repository()._replace(name=name), files)
    assert time.monotonic() - started < 5 and not hub.requests


def test_a_network_that_keeps_silent_is_given_up(hub, monkeypatch):
    monkeypatch.setattr(module, "QUICK", 0.1)
    monkeypatch.setattr(module, "PATIENT", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(ValueError, match="the hub cannot be reached"):
            download(repository(), ["config.json"])
    assert time.monotonic() - started < 5


def test_offline_by_choice_is_said(hub, monkeypatch):
    hub.add(NAME, FILES)
    download(repository(), ["config.json"])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.requests.clear()
    assert download(repository(), ["config.json"]).files == ("config.json",)
    forbidden = "is not in the cache of this machine, and HF_HUB_OFFLINE forbids to download it: unset it, or walk"
    with refused(hub, forbidden):
        download(repository(), ["sub/weights.bin"])
    assert not hub.requests


def test_a_disk_that_is_full_is_named(hub, monkeypatch):
    hub.add(NAME, FILES)

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        "shutil.disk_usage", lambda path: shutil._ntuple_diskusage(100, 99, 1)
    )  # the client warns of it
    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    remedy = "make room, or set HF_HOME to a folder on another disk"
    with refused(hub, f"could not be stored: the disk of {hub.home} is full: {remedy}", WorkFailedError):
        download(repository(), ["sub/weights.bin"])


@pytest.mark.parametrize("path", ["file", "file/under"])
def test_a_home_of_caches_that_cannot_be_one_is_named(hub, monkeypatch, tmp_path, path):
    hub.add(NAME, FILES)
    (tmp_path / "file").write_bytes(b"")
    home = tmp_path / path
    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))
    why = f"HF_HOME is {home}, but {tmp_path / 'file'} is a file: set HF_HOME to a folder"
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(home / "token"))
    with refused(hub, f"could not be stored: {why}", WorkFailedError):
        download(repository(), ["config.json"])


@pytest.mark.parametrize(
    ("code", "why"), [(13, "Permission denied"), (30, "Read-only file system"), (2, "No such file")]
)
def test_a_home_of_caches_that_refuses_is_named(hub, monkeypatch, code, why):
    hub.add(NAME, FILES)

    def refuse(*arguments, **options):
        raise OSError(code, why, "/somewhere/hub")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    remedy = f"set HF_HOME, which is {hub.home}, to a folder that can"
    with refused(hub, f"could not be stored: /somewhere/hub cannot be written to ({why}): {remedy}", WorkFailedError):
        download(repository(), ["config.json"])


def test_a_download_says_how_far_it_is(hub, monkeypatch, capfd):
    monkeypatch.setattr(hub_progress, "EVERY", 0.01)
    hub.add(NAME, {"a.bin": bytes(3_000_000), "b.bin": bytes(range(256)) * 8_000})
    hub.cuts = [1_000_000]  # after which the client waits for a second
    blobs = hub_progress.blobs_folder(NAME)
    blobs.mkdir(parents=True)
    (blobs / "0.1.incomplete").write_bytes(bytes(4_000_000))  # left by a process that was killed
    download(repository(), ["a.bin", "b.bin"])
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "some-name: downloading 5 MB from owner/repo"
    assert lines[1] in {"some-name: 0 of 5 MB", "some-name: 1 of 5 MB"}  # a file arrives faster than a thread starts
    assert "some-name: 1 of 5 MB" in lines
    download(repository(), ["a.bin", "b.bin"])
    assert capfd.readouterr().err == ""


def test_the_home_of_caches_is_that_of_the_client(monkeypatch):
    for name in ("HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert str(cache_home()).endswith(".cache/huggingface")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert str(cache_home()) == "/cache/huggingface"
    monkeypatch.setenv("HF_HOME", "/home/hf")
    assert str(cache_home()) == "/home/hf"
