"""What fails for a moment is tried again; what is definite is said at once."""

import errno
import time

import pytest

from flaky_filesystem import FlakyFileSystem
from vistok.tokenizer import retries
from vistok.tokenizer.remote_files import local_path, open_filesystem, open_remote, protocol_of, read_remote
from vistok.tokenizer.retries import give_up_retries, is_momentary, retried


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(retries, "FIRST_WAIT", 1e-5)
    FlakyFileSystem.reset()


class Failing:
    def __init__(self, *errors):
        self.errors = list(errors)
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_an_action_is_tried_eight_times():
    action = Failing(*[ConnectionResetError(104, "reset"), TimeoutError("slow")] * 3, EOFError())
    assert retried(action, "s3://b/x") == "done" and action.calls == 8
    action = Failing(*[ConnectionResetError(104, "reset by peer")] * 8)
    with pytest.raises(
        OSError, match=r"failed 8 times in \d+ s, the last time with: reset by peer.*s3://b/x"
    ) as caught:
        retried(action, "s3://b/x")
    assert (caught.value.errno, caught.value.filename, action.calls) == (errno.EIO, "s3://b/x", 8)


@pytest.mark.parametrize("error", [FileNotFoundError("no bucket"), PermissionError("Access Denied")])
def test_a_definite_answer_is_not_asked_for_again(error):
    action = Failing(error)
    with pytest.raises(type(error), match=str(error)) as caught:
        retried(action, "s3://b/x")
    assert action.calls == 1 and caught.value.filename == "s3://b/x" and caught.value.errno


def test_errors_of_ours_pass_unchanged():
    for error in (KeyError("x"), RuntimeError("x"), FileNotFoundError(2, "no", "there")):
        action = Failing(error)
        with pytest.raises(type(error)) as caught:
            retried(action, "s3://b/x")
        assert caught.value is error and action.calls == 1


def test_errors_of_libraries_are_judged_by_their_status():
    refused = type("ClientResponseError", (Exception,), {"__module__": "aiohttp.client", "status": 403})
    busy = type("ClientResponseError", (Exception,), {"__module__": "aiohttp.client", "status": 429})
    lost = type("ServerDisconnectedError", (Exception,), {"__module__": "aiohttp.client"})
    unknown = type("NoCredentialsError", (Exception,), {"__module__": "botocore.exceptions"})
    assert [is_momentary(kind("x")) for kind in (refused, busy, lost, unknown)] == [False, True, True, False]
    with pytest.raises(OSError, match="no key") as caught:
        retried(Failing(unknown("no key")), "s3://b/x")
    assert caught.value.errno == errno.EACCES


def test_an_interrupted_command_waits_for_nothing(monkeypatch):
    monkeypatch.setattr(retries, "FIRST_WAIT", 60)
    give_up_retries()
    started = time.monotonic()
    try:
        with pytest.raises(OSError, match="failed 1 times"):
            retried(Failing(TimeoutError("slow")), "s3://b/x")
    finally:
        give_up_retries(False)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("path", "protocol", "local"),
    [("s3://b/x", "s3", "b/x"), ("HF://datasets/a/b", "hf", "datasets/a/b"), ("file:///tmp/x", "", "/tmp/x"),
     ("C:\\x", "", "C:\\x"), ("a/b", "", "a/b"), ("photos-{00..09}.tar", "", "photos-{00..09}.tar")],
)  # fmt: skip
def test_a_url_has_a_protocol(path, protocol, local):
    assert (protocol_of(path), local_path(path)) == (protocol, local)


def test_what_cannot_be_opened_is_one_sentence(monkeypatch):
    with pytest.raises(
        ValueError, match=r"^nowhere://x has the protocol nowhere, which fsspec does not know: give a path"
    ):
        open_filesystem("nowhere://x")
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(
        ValueError, match=r"^gs://b/x needs the package gcsfs: pip install gcsfs, and run the same command"
    ):
        open_filesystem("gs://b/x")
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(ValueError, match=r"^dask://b needs a package that is missing \(.*\): install it, and run"):
        open_filesystem("dask://b")
    with pytest.raises(ValueError, match=r"^github://b cannot be opened \(.*\): give another URL"):
        open_filesystem("github://b")


def test_a_flaky_file_is_read_whole_and_in_ranges():
    filesystem, path = open_filesystem("flaky://b/x")
    content = bytes(range(256)) * 40_000
    filesystem.pipe_file(path, content)
    FlakyFileSystem.fraction = 0.3
    assert read_remote(filesystem, path, "flaky://b/x") == content
    with open_remote(filesystem, path, "flaky://b/x") as file:
        assert file.name == "flaky://b/x" and file.seek(0, 2) == len(content)
        for start, count in ((5_000_000, 70_000), (0, 10), (len(content) - 3, 10), (9, len(content))):
            file.seek(start)
            assert file.read(count) == content[start : start + count]
    assert FlakyFileSystem.faults
