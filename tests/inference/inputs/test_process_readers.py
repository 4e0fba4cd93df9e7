"""Readers in processes give what threads give, and whatever kills one of them loses no image and leaves nothing behind."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from processes import run_python
from samples import image_bytes, noise_image
from vistok.images.file_entry import Entry, file_entry
from vistok.images.opening.memory_budget import MemoryBudget
from vistok.inference.inputs import lanes, process_readers, readers
from vistok.inference.inputs.input_files import UnreadableInputError
from vistok.inference.inputs.process_readers import ProcessReaders
from vistok.inference.inputs.readers import ReaderPool, ThreadReaders, open_readers, reads_in_processes
from vistok.inference.inputs.reading import ReadImage, Unusable
from vistok.inference.inputs.samples import Companion, Sample
from vistok.tokenizer.errors import WorkFailedError
from vistok.tokenizer.preprocessing import PreprocessingConfig

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs descriptors that processes inherit")
SIDE = PreprocessingConfig(size=64)


@pytest.fixture
def start():
    """Start readers in processes, and end them with the test."""
    started = []

    def begin(config=SIDE, processes=1):
        started.append(ProcessReaders(config, 8, processes))
        return started[-1]

    yield begin
    for each in started:
        each.close()


@pytest.fixture
def samples(tmp_path):
    """Two images, one of them with a companion, a broken one, one that is not there, and one that has lost its file."""
    for name, size in (("a", (70, 90)), ("b", (300, 200))):
        (tmp_path / f"{name}.png").write_bytes(image_bytes(noise_image(*size), "PNG"))
    (tmp_path / "broken.png").write_bytes(b"broken")
    (tmp_path / "a.txt").write_text("caption")
    entries = {name: file_entry(str(tmp_path / f"{name}.png"), f"{name}.png") for name in ("a", "b", "broken")}
    companion = Companion("txt", file_entry(str(tmp_path / "a.txt"), "a.txt"))
    return [
        Sample("a", "a.png", entries["a"], companions=(companion,)),
        Sample("broken", "broken.png", entries["broken"]),
        Sample("none", "none.png", None, "is a folder, not a file"),
        Sample("b", "b.png", entries["b"]),
        Sample("gone", "gone.png", Entry(str(tmp_path / "gone.png"), 0, 9, "gone.png")),
    ]


def assert_equal(results, expected):
    for one, other in zip(results, expected, strict=True):
        assert type(one) is type(other)
        if isinstance(one, ReadImage):
            assert np.array_equal(one.pixels, other.pixels) and one.pixels.dtype == np.uint8
            assert one.sample is other.sample and one.metadata == other.metadata
        else:
            assert str(one) == str(other)


@pytest.mark.parametrize("size", [64, "native", "area:56"])
def test_processes_read_what_threads_read(start, samples, size, monkeypatch):
    monkeypatch.setattr(process_readers, "SLOT_BYTES", 64 * 96 * 3)  # the native image b is larger than a slot
    config = PreprocessingConfig(size=size)
    expected = ThreadReaders(config, 8, 1).read(samples)
    assert [type(result) for result in expected] == [ReadImage, Unusable, Unusable, ReadImage, UnreadableInputError]
    readers = start(config)
    for _ in range(2):
        assert_equal(readers.read(samples), expected)


def test_images_without_a_free_slot_come_as_messages(start, samples, monkeypatch):
    monkeypatch.setattr(process_readers, "SHARED_BYTES", 3 * 64 * 64)
    readers = start()
    held = [readers.read(samples) for _ in range(3)]
    for results in held:
        assert_equal(results, ThreadReaders(SIDE, 8, 1).read(samples))


@pytest.mark.parametrize("size", [64, "native", "area:56"])
def test_slots_never_have_more_memory_together_than_they_may(start, samples, size, monkeypatch):
    monkeypatch.setattr(process_readers, "SHARED_BYTES", 3 * 40 * 40)  # less than one of these images has
    config = PreprocessingConfig(size=size)
    readers = start(config)
    assert readers._slots.size <= 3 * 40 * 40
    assert_equal(readers.read(samples), ThreadReaders(config, 8, 1).read(samples))
    side = PreprocessingConfig(size=13_384)  # more than 512 MB
    monkeypatch.undo()
    assert process_readers._slot_bytes(side) == process_readers.SHARED_BYTES < 3 * 13_384**2


def test_a_reader_imports_no_torch():
    code = "import sys, vistok.inference.inputs.reader_process; sys.exit('torch' in sys.modules)"
    assert run_python("-c", code).returncode == 0


def test_a_pool_keeps_the_order_and_bounds_what_it_begins(start, samples):
    begun = []

    def make(items, read):
        begun.extend(items)
        return list(zip(items, read([samples[index % 4] for index in items]), strict=True))

    with ReaderPool(start(processes=2)) as pool:
        made = pool.ahead(range(200), make, 8, lambda _: 0, 1)
        assert next(made)[0] == 0 and len(begun) <= process_readers.CHUNK * (1 + 2 * 4)
        kinds = Counter()
        for expected, (index, result) in enumerate(made, 1):
            assert index == expected
            kinds[type(result)] += 1
        assert kinds == {ReadImage: 99, Unusable: 100}
        (alone,) = pool.submit(samples[:1]).result()
        assert isinstance(alone, ReadImage)


def test_what_a_killed_process_had_to_read_another_one_reads(start, samples):
    readers = start(processes=2)
    expected = ThreadReaders(SIDE, 8, 1).read(samples)
    with ReaderPool(readers) as pool:
        readers.read(samples)
        first = set(readers._lanes._processes)
        reading = [pool.submit(samples) for _ in range(60)]
        os.kill(next(iter(first)).pid, signal.SIGKILL)
        for future in reading:
            assert_equal(future.result(20), expected)
        assert len(readers._lanes._processes) == 2 and readers._lanes._processes != first


def test_an_image_that_kills_every_process_is_a_sentence(start, samples, tmp_path, monkeypatch):
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "pillow_heif.py").write_text("import os; os.kill(os.getpid(), 9)")
    monkeypatch.syspath_prepend(tmp_path / "modules")
    (tmp_path / "x.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    deadly = Sample("x", "x.heic", file_entry(str(tmp_path / "x.heic"), "x.heic"))
    first, unread, last = start().read([samples[0], deadly, samples[3]])
    assert isinstance(unread, UnreadableInputError)
    assert str(unread) == (
        "x.heic cannot be read (each process that reads it is killed, as when the memory is too small)"
    )
    assert_equal([first, last], ThreadReaders(SIDE, 8, 1).read([samples[0], samples[3]]))


def test_an_image_whose_neighbour_kills_the_process_is_read(start, tmp_path, monkeypatch):
    """Both lanes of one process die together as often as they meet there again."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "pillow_heif.py").write_text("import os, time; time.sleep(0.1); os.kill(os.getpid(), 9)")
    monkeypatch.syspath_prepend(tmp_path / "modules")
    (tmp_path / "x.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    (tmp_path / "slow.png").write_bytes(image_bytes(Image.new("RGB", (6000, 5000)), "PNG", compress_level=1))
    deadly, slow = (Sample(name, name, file_entry(str(tmp_path / name), name)) for name in ("x.heic", "slow.png"))
    with ReaderPool(start()) as pool:
        unread, read = [pool.submit([sample]) for sample in (deadly, slow)]
        assert isinstance(unread.result(20)[0], UnreadableInputError)
        assert isinstance(read.result(20)[0], ReadImage)


def test_processes_start_when_they_are_needed(start, samples):
    readers = start(processes=50)
    assert not readers._lanes._processes
    readers.read(samples)
    readers.read(samples)
    assert len(readers._lanes._processes) == 1


def test_processes_that_cannot_be_started_end_the_work(start, samples, monkeypatch):
    def refuse(*_, **__):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(lanes.subprocess, "Popen", refuse)
    readers = start(processes=2)
    for _ in range(2):
        with pytest.raises(BlockingIOError):
            readers.read(samples)


def test_processes_that_cannot_start_end_the_work(samples, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with open_readers(SIDE, 8, 2, in_processes=True) as pool:
        for future in [pool.submit(samples) for _ in range(20)]:
            with pytest.raises(
                WorkFailedError, match=r"^A process that reads images could not start \(exit code 1\)\.$"
            ):
                future.result(20)


def test_only_failed_starts_in_a_row_end_the_work(start, samples, tmp_path, monkeypatch):
    calls, python = tmp_path / "calls", tmp_path / "python"
    works = f'exec {sys.executable} "$@"'
    python.write_text(f"#!/bin/sh\necho >> {calls}\ncase $(wc -l < {calls}) in *4|*7) {works};; *) exit 1;; esac\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    readers = start()
    expected = ThreadReaders(SIDE, 8, 1).read(samples)
    for starts in (4, 7):
        assert_equal(readers.read(samples), expected)
        assert calls.read_text().count("\n") == starts
        (process,) = readers._lanes._processes
        process.kill()
        process.wait()


def test_an_error_that_is_no_images_fault_is_raised_with_its_stack(start, samples):
    with pytest.raises(RuntimeError, match="(?s)Traceback.*AttributeError"):
        start().read([Sample("a", "a.png", "no entry")])


def test_large_images_borrow_their_memory_until_their_process_is_killed(start, tmp_path, monkeypatch):
    budget, lent = MemoryBudget(1 << 40), []
    lend = budget.lend
    monkeypatch.setattr(budget, "lend", lambda amount: lent.append(amount) or lend(amount))
    monkeypatch.setattr(lanes, "BUDGET", budget)
    content = image_bytes(Image.new("RGB", (4000, 3000)), "PNG", compress_level=1)
    (tmp_path / "large.png").write_bytes(content)
    large = Sample("l", "large.png", file_entry(str(tmp_path / "large.png"), "large.png"))
    readers = start()
    (image,) = readers.read([large])
    assert image.metadata["width"] == 4000 and len(lent) == 1 and lent[0] >= 3 * 4000 * 3000
    assert budget._free == budget.total
    reading = threading.Thread(target=readers.read, args=([large],))
    reading.start()
    while len(lent) < 2:
        time.sleep(0.001)
    (process,) = readers._lanes._processes
    process.kill()
    reading.join(60)
    assert not reading.is_alive() and len(lent) == 3 and budget._free == budget.total


def test_closing_ends_processes_and_threads_at_once(samples):
    before = set(threading.enumerate())
    with open_readers(SIDE, 8, 2, in_processes=True) as pool:
        waiting = [pool.submit(samples * 100) for _ in range(50)]
        waiting[0].result()
        processes = list(pool._readers._lanes._processes)
        started = time.monotonic()
    assert time.monotonic() - started < 20 and not set(threading.enumerate()) - before
    assert [process.poll() for process in processes] == [-signal.SIGKILL] * 2


PARENT = """
import sys, time
from vistok.inference.inputs.process_readers import ProcessReaders
from vistok.tokenizer.preprocessing import PreprocessingConfig
readers = ProcessReaders(PreprocessingConfig(size=64), 8, 2)
readers._lanes._start()
readers._lanes._start()
assert readers.read([]) == []
print(*(process.pid for process in readers._lanes._processes), flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not os.path.exists("/dev/shm"), reason="looks for what stays in Linux")
def test_nothing_stays_when_the_process_that_started_them_is_killed():
    shared = set(os.listdir("/dev/shm"))
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    processes = list(map(int, parent.stdout.readline().split()))
    assert len(processes) == 2
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 60
    while any(map(_is_running, processes)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(_is_running, processes)) and set(os.listdir("/dev/shm")) <= shared


def _is_running(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().split()[2] != "Z"  # nobody may be there to collect it
    except OSError:
        return False


def test_a_gpu_is_fed_by_processes_and_a_cpu_by_threads(monkeypatch):
    assert [reads_in_processes(device) for device in ("cuda", "mps", "cpu")] == [True, True, False]
    monkeypatch.setattr(readers, "IS_WINDOWS", True)
    assert not reads_in_processes("cuda")
