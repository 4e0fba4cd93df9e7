"""The images of shards as one stream: no stage waits for another, memory is bounded, and no file depends on the batches."""

import copy
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import vistok
from samples import image_bytes, noise_image
from shard_files import image_jobs
from vistok.images.prefetch import drawn_ahead
from vistok.inference.detokenize import batching, stream
from vistok.inference.detokenize.batching import batches, capacity, default_batch
from vistok.inference.detokenize.checking import check
from vistok.inference.detokenize.stream import Tally, save_images
from vistok.tokenizer.preprocessing import PreprocessingConfig

SIDES = [(2, 2), (2, 3), (2, 2), (3, 2), (2, 3), (2, 2), (2, 2)]


@pytest.fixture
def native(tokenizer_folder):
    tokenizer = vistok.load(tokenizer_folder, device="cpu")
    return tokenizer.with_preprocessing(PreprocessingConfig(size="native"))


def grids(sides=SIDES):
    generator = np.random.default_rng(0)
    return [generator.integers(0, 300, (1, *side)) for side in sides]


def saved(jobs, batch_size=None, device="cpu"):
    save_images(jobs, batch_size, tally := Tally(lambda _: None), device)
    return tally


def checked(tokenizer, sides=SIDES):
    return [check(job) for job in image_jobs(tokenizer, grids(sides), Path())]


def test_a_batch_has_one_grid_and_no_image_is_lost(native):
    found = [[image.number for image in batch] for batch in batches(checked(native), 2)]
    assert found == [[0, 2], [1, 4], [5, 6], [3]]
    assert [[image.number for image in batch] for batch in batches(checked(native), None)] == [
        [0, 2, 5, 6],
        [1, 4],
        [3],
    ]


def test_images_that_wait_are_bounded_and_the_oldest_go_first(native, monkeypatch):
    monkeypatch.setattr(batching, "WAITING_BYTES", 3 * batching.MIN_BYTES)
    found = [[image.number for image in batch] for batch in batches(checked(native), 16)]
    assert found == [[0, 2], [1, 4], [3], [5, 6]]


def test_a_batch_of_a_gpu_is_of_whole_batches_of_the_network():
    def images(batch_size, side, device="cuda", own=None):
        tokenizer = SimpleNamespace(device=torch.device(device), downsample=8, batch_size=own)
        image = SimpleNamespace(decoder=SimpleNamespace(tokenizer=tokenizer), tokens=np.zeros((1, side, side)))
        return capacity(image, batch_size)

    assert [images(size, 32) for size in (None, 1, 20, 64, 100)] == [64, 16, 16, 64, 96]
    assert [images(size, 64) for size in (None, 1, 20)] == [16, 4, 16]
    assert images(20, 32, own=5) == 20 and images(20, 32, "cpu") == 20 and images(1, 32, "cpu") == 1
    assert default_batch("cpu") % torch.get_num_threads() == 0 and default_batch("cpu") >= 16


def test_no_file_depends_on_the_batches(native, tmp_path, monkeypatch):
    for size in (1, 3, None):
        assert saved(image_jobs(native, grids(), tmp_path / str(size)), size).written == len(SIDES)
    monkeypatch.setattr(batching, "WAITING_BYTES", 1)
    saved(image_jobs(native, grids(), tmp_path / "unsorted"))
    for index, grid in enumerate(grids()):
        contents = {path.read_bytes() for path in tmp_path.glob(f"*/{index}.png")}
        assert len(contents) == 1 and len(list(tmp_path.glob(f"*/{index}.png"))) == 4
        expected = native.decode(grid[None])[0]
        assert np.array_equal(np.asarray(expected), np.asarray(Image.open(tmp_path / "1" / f"{index}.png")))


def recorded(tokenizer, events):
    """Return a tokenizer that records when a batch is begun and when it is waited for."""
    own = copy.copy(tokenizer)

    def start(tokens, decoder, seed):
        number = sum(name == "begun" for name, _ in events)
        events.append(("begun", number))
        finish = tokenizer.start_decoding(tokens, decoder, seed)
        return lambda: events.append(("finished", number)) or finish()

    own.start_decoding = start
    return own


@pytest.mark.parametrize(("device", "on_their_way"), [("cpu", 1), ("cuda", 3)])
def test_a_gpu_has_its_next_batches_before_the_first_is_waited_for(native, tmp_path, device, on_their_way):
    events = []
    saved(image_jobs(recorded(native, events), grids([(2, 2)] * 12), tmp_path), 2, device)
    assert [number for name, number in events if name == "finished"] == list(range(6))
    assert [name for name, _ in events].index("finished") == on_their_way
    begun = Counter()
    for name, _ in events:
        begun[name] += 1
        assert begun["begun"] - begun["finished"] <= on_their_way


def test_nothing_is_read_or_decoded_far_ahead_of_the_files(native, tmp_path, monkeypatch):
    """While no file can be written, reading and decoding stop."""
    monkeypatch.setattr(stream, "WAITING_BYTES", 4 * 16 * 16 * 3)
    may_write, read, events = threading.Event(), [], []
    save = stream.save_png
    monkeypatch.setattr(stream, "save_png", lambda *given: may_write.wait(30) and save(*given))

    def jobs():
        for job in image_jobs(recorded(native, events), grids([(2, 2)] * 60), tmp_path):
            read.append(job.number)
            yield job

    tally = Tally(lambda _: None)
    work = threading.Thread(target=save_images, args=(jobs(), 2, tally, "cpu"))
    work.start()
    before = -1
    while before != (before := len(read)) or not before:
        time.sleep(0.3)
    assert 4 <= len(read) <= 2 * (2 + stream.READ_AHEAD + 2) and len(events) <= 6 and not tally.written
    may_write.set()
    work.join(30)
    assert tally.written == 60


def test_failures_come_in_the_order_of_the_images(native, tmp_path):
    (tmp_path / "1.png").mkdir()
    tokens = grids([(2, 2)] * 6)
    tokens[4] = np.full((1, 2, 2), 300)
    tokens[0] = tokens[4]
    tally = saved(image_jobs(native, tokens, tmp_path), 1)
    assert [failure.split(":")[0] for failure in tally.failures] == ["0", "1", "4"] and tally.written == 3
    assert "a token is 300, but the codes are 0 to 299" in tally.failures[0]
    assert "1.png cannot be written (Is a directory)" in tally.failures[1]


@pytest.mark.parametrize("stage", ["reading", "decoding", "saving"])
def test_an_error_of_a_stage_ends_all_of_them(native, tmp_path, monkeypatch, stage):
    closed = []

    def jobs(broken):
        try:
            yield from image_jobs(native, grids([(2, 2)] * 40), tmp_path)
            if broken:
                raise OSError(5, "the disk is gone")
        finally:
            closed.append(True)

    def fail(*_):
        raise OSError(28, "no space")

    if stage == "decoding":
        monkeypatch.setattr(native, "start_decoding", fail)
    elif stage == "saving":
        monkeypatch.setattr(stream, "save_png", fail)
    with pytest.raises(OSError, match="the disk is gone" if stage == "reading" else "no space"):
        saved(jobs(stage == "reading"), 4)
    assert closed == [True]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("vistok-save", "vistok-read"))]


def test_items_are_drawn_in_one_thread_in_order():
    drawn = []

    def items():
        for number in range(20):
            drawn.append(threading.get_ident())
            yield number

    with ThreadPoolExecutor(1) as pool:
        assert list(drawn_ahead(pool, items(), 4)) == list(range(20))
        assert list(drawn_ahead(pool, [], 4)) == []
    assert len(set(drawn)) == 1 and drawn[0] != threading.get_ident()


def test_ctrl_c_ends_it_within_seconds_and_the_same_command_goes_on(tokenize, detokenize, tokenizer_folder, tmp_path):
    photos, back = tmp_path / "photos", tmp_path / "back"
    photos.mkdir()
    for index in range(40):
        (photos / f"{index:02d}.png").write_bytes(image_bytes(noise_image(600, 600, index), "PNG"))
    tokenize(photos, "--out", tmp_path / "tokens", "--size", "native")
    code = "from vistok.cli.launch import detokenize_images; detokenize_images()"
    call = [tmp_path / "tokens", "--out", back, "--batch-size", 2]
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, call)], stderr=subprocess.PIPE, text=True)
    while process.poll() is None and len(list(back.glob("*.png"))) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    told = time.monotonic()
    _, complained = process.communicate(timeout=30)
    assert time.monotonic() - told < 10 and process.returncode == 1
    assert complained.startswith("detokenize-images: interrupted") and complained.count("\n") == 1, complained
    there = len(list(back.glob("*.png")))
    assert 2 <= there < 40 and not os.path.exists(back / ".vistok.lock")
    assert f"{40 - there} images from 1 shard" in (said := detokenize(*call)) and f"{there} there before" in said
