"""All threads of a process decode within one memory budget, in the order of their requests."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from samples import image_bytes, noise_image
from vistok.images import row_strips
from vistok.images.opening import memory_budget
from vistok.images.opening.memory_budget import DECODING_BYTES, MemoryBudget
from vistok.images.opening.open_image import MAX_PIXELS, open_image
from vistok.images.preprocessing import BYTES_PER_PIXEL, load_pixels
from vistok.images.sizes import network_size
from vistok.tokenizer.preprocessing import PreprocessingConfig


def test_what_is_lent_never_exceeds_the_total_and_everybody_is_served():
    budget, lock = MemoryBudget(100), threading.Lock()
    held, most, served = 0, 0, []

    def work(amount):
        nonlocal held, most
        with budget.hold(amount):
            with lock:
                held += min(amount, 100)
                most = max(most, held)
            time.sleep(0.001)
            with lock:
                held -= min(amount, 100)
                served.append(amount)

    amounts = np.random.default_rng(0).integers(1, 150, 200).tolist()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, amounts))
    assert most <= 100 and most > 60 and sorted(served) == sorted(amounts)


def test_a_large_one_has_its_turn_before_small_ones_that_came_later():
    budget, order = MemoryBudget(100), []
    with ThreadPoolExecutor(8) as pool:
        with budget.hold(60):
            futures = []
            for amount in (500, 10, 10):
                futures.append(pool.submit(lambda amount: _note(budget, amount, order), amount))
                while len(budget._waiting) < len(futures):
                    time.sleep(0.001)
            assert order == []
        for future in futures:
            future.result(5)
    assert order == [500, 10, 10]


def _note(budget, amount, order):
    with budget.hold(amount):
        order.append(amount)


def test_an_error_gives_the_memory_back():
    budget = MemoryBudget(10)
    for _ in range(3):
        with pytest.raises(RuntimeError), budget.hold(10):
            raise RuntimeError
    with budget.hold(10):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_begins_with_the_whole_budget():
    budget = MemoryBudget(10)
    with budget.hold(10):
        child = os.fork()
        if child == 0:
            threading.Timer(5, os._exit, (1,)).start()
            with budget.hold(10):
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


MEASURE = """
import io, sys
from concurrent.futures import ThreadPoolExecutor
from vistok.images.opening import memory_budget, open_image
import PIL.WebPImagePlugin, PIL.ImageCms

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))

content = sys.stdin.buffer.read()
before = peak()
for total in map(int, sys.argv[1:]):
    open_image.BUDGET = memory_budget.MemoryBudget(total)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: open_image.open_image(content).size, range(8)))
    print(peak() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the peak is read from Linux")
def test_threads_together_take_no_more_than_the_budget():
    content = image_bytes(Image.new("RGBA", (1600, 1600), (1, 2, 3, 99)), "WEBP", lossless=True, method=0)
    budget = 1600 * 1600 * 24
    # The C library keeps some freed memory for each thread, which would hide the decoders' own.
    allocator = {"MALLOC_TRIM_THRESHOLD_": str(1 << 17), "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
    command = [sys.executable, "-c", MEASURE, str(budget), str(100 * budget)]
    said = subprocess.run(command, input=content, capture_output=True, check=True, env={**os.environ, **allocator})
    bounded, free = map(int, said.stdout.split())
    assert bounded < budget < 2 * budget < free


def test_freed_memory_of_large_images_is_returned_and_of_small_ones_kept(monkeypatch):
    calls = []
    monkeypatch.setattr(memory_budget, "return_freed_memory", lambda: calls.append(0))
    budget = MemoryBudget(1 << 32)
    for amount in (memory_budget.TRIM_FROM - 1, memory_budget.TRIM_FROM):
        with budget.hold(amount):
            assert calls == []
    assert calls == [0]


def test_the_largest_image_fits_into_the_default():
    assert MAX_PIXELS * 20 <= DECODING_BYTES


def modes():
    colour = noise_image(50, 37)
    alpha = Image.fromarray(np.random.default_rng(1).integers(0, 256, (37, 50), dtype=np.uint8))
    clear = colour.copy()
    clear.putalpha(alpha)
    yield from (colour, clear, clear.convert("LA"), colour.convert("L"), colour.convert("1"), colour.convert("CMYK"))
    yield Image.fromarray(np.random.default_rng(1).integers(0, 65536, (37, 50), dtype=np.uint16))
    yield Image.fromarray(np.random.default_rng(1).random((37, 50), dtype=np.float32))
    yield colour.quantize(40)


@pytest.mark.parametrize("rows", [1, 5, 36])
def test_strips_do_not_show(monkeypatch, rows):
    for image in modes():
        forms = [("PNG", {})] if image.mode not in ("CMYK", "F") else [("TIFF", {})]
        if image.mode == "P":
            forms += [("PNG", {"transparency": 3}), ("PNG", {"transparency": bytes(range(0, 200, 5))})]
        for form, options in forms:
            content = image_bytes(image, form, **options)
            whole = np.asarray(open_image(content, (9, 80, 200)))
            with monkeypatch.context() as patched:
                patched.setattr(row_strips, "STRIP_PIXELS", 50 * rows)
                assert np.array_equal(np.asarray(open_image(content, (9, 80, 200))), whole), (image.mode, options)


@pytest.mark.parametrize(("size", "result"), [(64, 0), ("native", 0), ("area:64", 64), ("area:16-200", 200)])
@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_what_a_resize_to_an_area_needs_is_held_too(monkeypatch, size, result, form):
    """However small the file is: an area of 8192 x 8192 takes 200 MB of pixels alone."""
    held = []
    hold = MemoryBudget.hold
    monkeypatch.setattr(MemoryBudget, "hold", lambda budget, amount: held.append(amount) or hold(budget, amount))
    content = image_bytes(noise_image(10, 20), form)
    open_image(content)
    load_pixels(content, PreprocessingConfig(size=size), 8)
    assert held[1] - held[0] == result**2 * BYTES_PER_PIXEL and len(held) == 2


def test_a_resize_to_an_area_takes_no_more_than_is_held():
    """The largest is the one of a small image, whose intermediate image has the width of the result."""
    config = PreprocessingConfig(size="area:900")
    for width, height in ((1, 1), (3, 90), (90, 3), (900, 900)):
        rows, columns = network_size(config, height, width, 16)
        assert (4 * rows * columns + 4 * columns * max(height, rows) + 3 * rows * columns) < BYTES_PER_PIXEL * 900**2
