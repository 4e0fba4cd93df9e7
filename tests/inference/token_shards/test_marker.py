"""Two drivers never write to one remote folder at a time, and a killed one is taken over."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from vistok.inference.token_shards import marker
from vistok.inference.token_shards.marker import MAX_SKEW, Pace, hold_marker
from vistok.tokenizer.errors import WorkFailedError
from vistok.tokenizer.folder_lock import FolderBusyError

PACE = Pace(beat=0.02, stale=0.3, settle=0.0)
OTHER = {"command": "tokenize-images", "pid": 7, "host": "there", "machine": "", "id": "other"}
BUSY = (
    r"^s3://b/x is being written to by tokenize-images \(pid 7 on there\): wait until it has ended, or use another folder "
    r"\(one that was killed is taken over 0 s after its last sign\)\.$"
)


class Folder:
    """A marker in memory; each read can be made to change it first."""

    def __init__(self, content=None, on_read=lambda folder: None):
        self.content, self.on_read, self.reads = content and json.dumps(content).encode(), on_read, 0
        self.is_gone = False

    def __str__(self):
        return "s3://b/x"

    def read_marker(self):
        if self.is_gone:
            raise OSError(5, "gone", "s3://b/x")
        self.reads += 1
        self.on_read(self)
        return self.content

    def write_marker(self, content):
        if self.is_gone:
            raise OSError(5, "gone", "s3://b/x")
        self.content = content

    def remove_marker(self):
        self.content = None


def beat_of_another(folder):
    folder.content = json.dumps(OTHER | {"time": time.time() + folder.reads}).encode()


def hold(folder, pace=PACE, body=lambda ownership: None):
    with hold_marker(folder, "tokenize-images", pace) as ownership:
        body(ownership)


def test_a_driver_gives_signs_and_removes_its_marker():
    folder = Folder()
    with hold_marker(folder, "tokenize-images", PACE) as ownership:
        first = json.loads(folder.content)
        assert (first["command"], first["pid"]) == ("tokenize-images", os.getpid())
        for _ in range(200):
            time.sleep(0.01)
            if json.loads(folder.content)["time"] > first["time"]:
                break
        assert json.loads(folder.content)["time"] > first["time"]
        (beats,) = [thread for thread in threading.enumerate() if thread.name == marker.BEATS]
        with pytest.raises(FolderBusyError, match=r"written to by tokenize-images \(pid \d+ on .*\): wait until"):
            hold(folder, PACE._replace(stale=60))  # on a busy machine a sign may be late
        ownership.check()
    assert folder.content is None
    beats.join(60)
    assert not beats.is_alive()
    hold(folder)


def test_a_sign_that_is_late_does_not_bring_the_marker_back():
    """A store that is slow, or tried again, may take a sign long after the run has ended."""
    folder, begun, goes_on = Folder(), threading.Event(), threading.Event()
    write = folder.write_marker

    def slow(content):
        if folder.content:
            begun.set()
            goes_on.wait(30)
        write(content)

    folder.write_marker = slow
    with hold_marker(folder, "tokenize-images", PACE):
        assert begun.wait(30)
        threading.Timer(0.2, goes_on.set).start()
    assert goes_on.is_set() and folder.content is None
    time.sleep(0.1)
    assert folder.content is None


def test_one_that_gives_signs_is_not_disturbed(capsys):
    with pytest.raises(FolderBusyError, match=BUSY) as caught:
        hold(Folder(OTHER | {"time": time.time()}, beat_of_another))
    assert caught.value.holder == "tokenize-images (pid 7 on there)"
    assert (
        "s3://b/x was being written to by tokenize-images (pid 7 on there): waiting 0 s for" in capsys.readouterr().err
    )


def test_one_without_a_sign_is_taken_over_after_the_time():
    folder, started = Folder(OTHER | {"time": time.time()}), time.monotonic()
    hold(folder)
    assert time.monotonic() - started >= 0.3 and folder.content is None


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"time": "x"}', b"[" * 100_000])
def test_a_damaged_marker_is_that_of_another_command(content):
    folder, started = Folder(), time.monotonic()
    folder.content = content
    hold(folder)
    assert time.monotonic() - started >= 0.3


def test_one_that_was_killed_long_ago_or_here_is_taken_over_at_once():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    patient = Pace(beat=60, stale=60, settle=0)
    hold(Folder(OTHER | {"time": time.time() - MAX_SKEW - 61}), patient)
    if machine := marker._machine():
        hold(Folder(OTHER | {"time": time.time(), "machine": machine, "pid": ended.pid}), patient)
    alive = Folder(OTHER | {"time": time.time(), "machine": machine, "pid": os.getpid()}, beat_of_another)
    with pytest.raises(FolderBusyError):
        hold(alive, Pace(beat=0.1, stale=60, settle=0))


def test_where_signs_are_rare_the_clock_is_believed():
    pace = Pace(beat=60, stale=60, settle=0, watches=False)
    with pytest.raises(FolderBusyError, match=r"taken over 60 s after its last sign"):
        hold(Folder(OTHER | {"time": time.time() - 50}), pace)
    hold(Folder(OTHER | {"time": time.time() - 70}), pace)


def test_of_two_that_begin_together_one_goes_on():
    folder = Folder(on_read=lambda folder: folder.reads > 1 and beat_of_another(folder))
    with pytest.raises(FolderBusyError, match=BUSY):
        hold(folder)
    assert json.loads(folder.content)["id"] == "other"  # whose marker stays


def test_a_driver_that_was_taken_over_stops():
    folder = Folder()

    def body(ownership):
        folder.content = json.dumps(OTHER | {"time": time.time()}).encode()
        for _ in range(500):
            time.sleep(0.01)
            ownership.check()

    with pytest.raises(
        WorkFailedError, match=r"^s3://b/x was taken over by tokenize-images \(pid 7 on there\): run the same"
    ):
        hold(folder, body=body)
    assert json.loads(folder.content)["id"] == "other"


def test_a_store_that_fails_for_a_while_ends_no_driver():
    folder = Folder()

    def body(ownership):
        folder.is_gone = True
        time.sleep(0.1)
        folder.is_gone = False
        before = folder.content
        for _ in range(200):
            time.sleep(0.01)
            if folder.content != before:
                break
        assert folder.content != before
        ownership.check()
        folder.is_gone = True  # also when it ends

    hold(folder, body=body)


@pytest.mark.parametrize("path, is_asked", [("s3://b/x/images-00000.tar", False), ("/tmp/full", True), (None, True)])
def test_a_store_that_has_vanished_is_not_asked_again(path, is_asked):
    folder = Folder()
    with pytest.raises(OSError, match="gone"), hold_marker(folder, "tokenize-images", Pace(60, 60, 0)):
        reads = folder.reads
        raise OSError(5, "gone", path)
    assert (folder.reads > reads, folder.content is None) == (is_asked, is_asked)
