"""Whether a host is reachable is known within seconds."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

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
