"""A store behind a URL by itself: its files, its marker, and how they are sent."""

import io
import pickle
import tempfile
import time
from types import SimpleNamespace

import pytest

from flaky_filesystem import FlakyFileSystem
from vistok.inference.token_shards import remote_writing
from vistok.inference.token_shards.store import open_store, write_file
from vistok.inference.tokenize.job import ShardProgress, ShardResult
from vistok.inference.tokenize.results import tokenize_shards
from vistok.tokenizer.errors import WorkFailedError

URL = "flaky://bucket/tokens"
pytestmark = pytest.mark.usefixtures("quick_store")


def test_a_driver_that_another_took_over_writes_no_more():
    store = open_store(URL)
    with (
        pytest.raises(WorkFailedError, match=f"^{URL} was taken over by another command"),
        store.hold("tokenize-images"),
    ):
        FlakyFileSystem().pipe_file(f"{URL}/.vistok.lock", b"{}")
        for _ in range(100):
            time.sleep(0.01)
            write_file(store, "x.json", b"1")
    assert FlakyFileSystem().cat_file(f"{URL}/.vistok.lock") == b"{}"


@pytest.mark.parametrize("tells", ["progress", "results"])
def test_a_run_whose_workers_write_ends_when_another_took_over(tells):
    """Workers have a copy of the store that knows nothing of its owner, whatever the engine."""
    store, shards = open_store(URL), []

    class Engine:
        def __init__(self, job, report):
            self.copy, self.report = pickle.loads(pickle.dumps(job.out)), report

        def run(self, tasks):
            for task in tasks:
                shards.append(task)
                write_file(self.copy, task, b"1")
                if task == "0":
                    FlakyFileSystem().pipe_file(f"{URL}/.vistok.lock", b"{}")
                time.sleep(0.01)
                if tells == "progress":
                    self.report(ShardProgress("0", 1))
                else:
                    yield ShardResult(task, 1)

    job = SimpleNamespace(out=store, manifest=SimpleNamespace(num_codebooks=1, vocab_size=8))
    with pytest.raises(WorkFailedError, match=f"^{URL} was taken over by"), store.hold("tokenize-images"):
        tokenize_shards([str(index) for index in range(100)], job, Engine)
    assert 1 <= len(shards) < 100


def test_a_store_is_picklable_and_compared_by_its_url():
    store = open_store(URL)
    write_file(store, "x.json", b"1")
    assert store.read_many(["x.json", "y.json"]) == {"x.json": b"1"}
    again = pickle.loads(pickle.dumps(store))
    assert again == store and hash(again) == hash(store) and again.sizes() == {"x.json": 1}


@pytest.mark.parametrize("tells", [True, False])
def test_a_file_whose_size_the_store_does_not_say_is_there(monkeypatch, tells):
    store, listed, asked = open_store(URL), FlakyFileSystem.ls, FlakyFileSystem.info
    for name, content in (("a.json", b"12"), ("b.tar", b"345"), ("c", b"")):
        write_file(store, name, content)
    assert store.size("a.json") == 2 and store.size("c") == 0 and store.size("d") is None
    monkeypatch.setattr(
        FlakyFileSystem, "ls", lambda *given, **o: [row | {"size": None} for row in listed(*given, **o)]
    )
    if not tells:
        monkeypatch.setattr(FlakyFileSystem, "info", lambda *given: asked(*given) | {"size": None})
    assert store.sizes() == {"a.json": 2, "b.tar": 3, "c": 0}
    assert store.size("a.json") == 2 and store.size("c") == 0 and store.size("d") is None
    assert store.read_many(["a.json", "d"]) == {"a.json": b"12"} and store.open("b.tar").read() == b"345"


def test_small_files_are_read_once_and_again_when_they_change():
    store = open_store(URL)
    for name, content in (("a.json", b"1"), ("b.json", b"2")):
        write_file(store, name, content)
    assert store.read_many(["a.json", "b.json"]) == {"a.json": b"1", "b.json": b"2"}
    calls = FlakyFileSystem.calls
    assert store.read_many(["b.json", "a.json"]) == {"b.json": b"2", "a.json": b"1"}
    assert FlakyFileSystem.calls == calls + 1  # the listing
    time.sleep(1e-6)
    write_file(open_store(URL), "b.json", b"3")
    assert store.read_many(["a.json", "b.json"]) == {"a.json": b"1", "b.json": b"3"}


def test_a_large_file_is_sent_in_parts_and_a_cut_one_again(monkeypatch):
    monkeypatch.setattr(remote_writing, "IN_MEMORY", 10)
    content, opened = b"0123456789" * 1000, []

    class Part(io.BytesIO):
        closed = False

        def write(self, data):
            if len(opened) == 1:
                super().write(data[:5])
                raise ConnectionResetError(104, "Connection reset by peer")
            return super().write(data)

        def close(self):
            opened[-1] = self.getvalue()[: 7 if len(opened) == 2 else None]  # the second arrives cut
            FlakyFileSystem.store["/bucket/tokens/x.tar"] = io.BytesIO(opened[-1])
            FlakyFileSystem.store["/bucket/tokens/x.tar"].created = 0

        def discard(self):
            assert self.closed  # so that its end makes no file of it
            opened[-1] = "discarded"
            raise ConnectionResetError(104, "Connection reset by peer")

    def open_part(self, path, mode):
        opened.append("")
        return Part()

    monkeypatch.setattr(FlakyFileSystem, "open", open_part)
    monkeypatch.setattr(
        FlakyFileSystem, "info", lambda self, path: {"size": len(self.store[path].getvalue()), "type": "file"}
    )
    write_file(open_store(URL), "x.tar", content)
    assert opened == ["discarded", content[:7], content]


def test_an_error_of_the_work_is_none_of_the_store():
    with pytest.raises(NotImplementedError, match="no kernel"), open_store(URL).hold("tokenize-images"):
        raise NotImplementedError("no kernel for this device")


def test_a_full_temporary_folder_is_named(monkeypatch):
    full = OSError(28, "No space left on device")
    with (
        pytest.raises(OSError, match="No space left on device.*" + tempfile.gettempdir()),
        open_store(URL).replace(["x"]),
    ):
        raise full
