"""A store that does not answer is never taken for one without files, and what is not there is said at once."""

import errno
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest

from flaky_filesystem import FlakyFileSystem
from vistok.images.finding.remote import RemoteFolder, RemoteObject, find_remote, remote_object
from vistok.tokenizer import retries
from vistok.tokenizer.retries import StillFailingError


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(retries, "FIRST_WAIT", 1e-4)
    FlakyFileSystem.reset()


@contextmanager
def answering(*statuses):
    """Serve each status in turn, the last one for ever; give the URL and the list of requests."""
    pytest.importorskip("aiohttp", reason="http:// needs aiohttp")
    left, asked = list(statuses), []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            asked.append(self.command)
            self.send_response(left.pop(0) if len(left) > 1 else left[0])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self):
            self.do_HEAD()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/a.png", asked
        server.shutdown()
        thread.join()


@contextmanager
def refusing():
    """Give a port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def found(url):
    (one,) = find_remote([url])
    return one


def test_a_web_server_that_is_overloaded_is_asked_again_and_then_named():
    with answering(503, 503, 503, 503, 200) as (url, asked):
        assert found(url) == RemoteObject(url, 0) and len(asked) == 5
    with answering(503) as (url, asked):
        for ask in (found, remote_object):
            with pytest.raises(
                StillFailingError, match="failed 8 times in .*with: 503, message='Service Unavailable'"
            ) as caught:
                ask(url)
            assert caught.value.filename == url
        assert len(asked) == 2 * 2 * retries.TRIES


def test_a_web_server_that_refuses_the_connection_is_named():
    pytest.importorskip("aiohttp", reason="http:// needs aiohttp")
    with (
        refusing() as port,
        pytest.raises(StillFailingError, match=rf"failed 8 times in .*Connect call failed .*{port}"),
    ):
        found(f"http://127.0.0.1:{port}/a.png")


def test_a_bucket_whose_server_refuses_the_connection_is_named(monkeypatch):
    s3fs = pytest.importorskip("s3fs", reason="s3:// needs s3fs")
    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with refusing() as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        s3fs.S3FileSystem.clear_instance_cache()
        for url in ("s3://b/a.png", "s3://b/*.png", "s3://b/**/a.png"):
            with pytest.raises(StillFailingError, match=r"failed 8 times in .*Could not connect to the endpoint"):
                found(url)
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("status", [404, 410])
def test_what_a_web_server_does_not_have_does_not_exist(status):
    with answering(status) as (url, asked):
        assert found(url) == remote_object(url) == RemoteObject(url, problem="does not exist")
        assert len(asked) == 4  # HEAD and GET


def test_what_a_web_server_keeps_to_itself_is_no_missing_file():
    with answering(403) as (url, asked):
        one = found(url)
        assert one.problem.startswith("cannot be read (403, message='Forbidden'") and len(asked) == 2


class Walking(FlakyFileSystem):
    """`walking://`: a store that is listed folder by folder."""

    protocol = "walking"
    find = fsspec.AbstractFileSystem.find

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("walking://"))


fsspec.register_implementation("walking", Walking, clobber=True)
URLS = [f"{protocol}://b/{rest}" for protocol in ("flaky", "walking") for rest in ("p", "p/*.png", "p/*/*.png", "p/**")]


@pytest.mark.parametrize("url", URLS)
def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(url, monkeypatch):
    for name in ("a.png", "b.txt", "s/c.png", "s/t/d.png"):
        FlakyFileSystem().pipe_file(f"/b/p/{name}", b"x")
    names = {"p": "a.png b.txt s/c.png s/t/d.png", "p/*.png": "a.png", "p/*/*.png": "s/c.png"}.get(
        url.split("b/", 1)[1]
    )
    names = (names or "a.png b.txt s/c.png s/t/d.png").split()
    expected = RemoteFolder(found(url).url, [f"{url[: url.index('/p') + 2]}/{name}" for name in names])
    FlakyFileSystem.fraction = 0.3  # each listing is tried again by itself
    assert all([each.url for each in found(url).objects] == expected.objects for _ in range(5))

    def refuse(self, path, *arguments, **options):
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    FlakyFileSystem.fraction = 0
    is_at_once = url.startswith("flaky") and url.endswith(("p", "**"))
    monkeypatch.setattr(FlakyFileSystem, "find" if is_at_once else "ls", refuse)
    with pytest.raises(StillFailingError, match="failed 8 times in .*with: Connection refused"):
        found(url)


@pytest.mark.parametrize("url", ["flaky://b/*.png", "walking://b/*.png", "walking://b/**", "flaky://b/**"])
def test_a_glob_of_a_folder_that_is_not_there_matches_nothing(url):
    assert found(url).objects == []
