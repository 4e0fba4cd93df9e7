"""How tokenizers are found where the network is, and where it is not."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

import vistok.pretrained.find
from vistok.pretrained.find import find_tokenizer
from vistok.pretrained.network import is_reachable


@pytest.fixture
def server():
    class Refuses(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(404)

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Refuses) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}/weights.pth"
        serving.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _without_proxies(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


def test_a_host_that_answers_is_reachable_whatever_it_answers(server):
    assert is_reachable(server, seconds=10)


def test_a_host_that_is_not_there_or_keeps_silent_is_not_and_it_is_known_soon():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        assert not is_reachable(f"http://127.0.0.1:{silent.getsockname()[1]}/", seconds=0.2)
        assert time.monotonic() - started < 5
        closed = silent.getsockname()[1]
    for url in (f"http://127.0.0.1:{closed}/", "http://no-such-host.invalid/", "no address at all"):
        assert not is_reachable(url, seconds=0.5)


def test_a_host_whose_address_cannot_be_found_is_left_behind(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: time.sleep(3) or [])
    started = time.monotonic()
    assert not is_reachable("http://example.invalid/", seconds=0.1)
    assert time.monotonic() - started < 2


def test_the_hub_is_not_asked_first_where_it_cannot_be_reached(monkeypatch, tmp_path):
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


def test_a_tokenizer_that_is_nowhere_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr(vistok.pretrained.find, "hub_is_reachable", lambda: False)
    with pytest.raises(
        ValueError, match=r"^hf://owner/none could not be fetched \(it is not on this machine, and the hub cannot"
    ):
        find_tokenizer("hf://owner/none")
    with pytest.raises(
        ValueError, match=r"^There is no tokenizer 'zzz': give a built-in name \(photo-f8\), a tokenizer folder, or"
    ):
        find_tokenizer("zzz")
