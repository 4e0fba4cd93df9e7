import pytest
import torch

from samples import small_tokenizer
from vistok.inference import batch_probe
from vistok.inference.batch_probe import probed_batch, smallest_of_the_fastest


@pytest.mark.parametrize(
    ("rates", "size"),
    [
        ({16: 100.0, 32: 190.0, 64: 240.0, 128: 241.0}, 64),
        ({16: 100.0, 32: 99.0}, 16),
        ({16: 100.0, 32: 104.0, 64: 90.0}, 32),
        ({}, 16),
    ],
)
def test_the_smallest_batch_that_is_nearly_the_fastest(rates, size):
    assert smallest_of_the_fastest(rates) == size


@pytest.fixture
def card(monkeypatch):
    """A CPU with a GPU's memory of `free` bytes; 16 images take 1,000 bytes and a millisecond, more take longer each."""
    card = {"free": 1 << 40, "tried": [], "batch": 0}
    cuda = {
        "memory_allocated": lambda device: 0,
        "memory_reserved": lambda device: 0,
        "reset_peak_memory_stats": lambda device: None,
        "mem_get_info": lambda device: (card["free"], 1 << 40),
        "max_memory_allocated": lambda device: card["batch"] * 1000 // 16,
    }
    for name, function in cuda.items():
        monkeypatch.setattr(torch.cuda, name, function)

    class Encoder:
        def __init__(self, model, device, precision):
            card["batch"] = int(precision.split("-")[2])
            card["tried"].append(card["batch"])

        def __call__(self, images):
            assert len(images) == card["batch"]

    monkeypatch.setattr(batch_probe, "FastEncoder", Encoder)
    monkeypatch.setattr(batch_probe, "timed", lambda work: [work(), 1e-3 * card["batch"] ** 0.9][1])
    return card


def test_all_sizes_are_tried_once_per_process(card):
    model = small_tokenizer()
    assert [probed_batch(model, torch.device("cpu"), 32) for _ in range(2)] == [256, 256]
    assert card["tried"] == [16, 32, 64, 128, 256]


def test_batches_beyond_the_free_memory_are_not_tried(card):
    card["free"] = 4000  # of which four fifths are enough for 48 images
    assert probed_batch(small_tokenizer(), torch.device("cpu"), 32) == 32
    assert card["tried"] == [16, 32]


def test_a_batch_that_does_not_fit_ends_the_trial(card, monkeypatch):
    encode = batch_probe.FastEncoder.__call__

    def call(self, images):
        if len(images) > 64:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        encode(self, images)

    monkeypatch.setattr(batch_probe.FastEncoder, "__call__", call)
    assert probed_batch(small_tokenizer(), torch.device("cpu"), 32) == 64


def test_large_images_are_tried_as_the_encoder_takes_them(card, monkeypatch):
    tried = []

    def call(self, images):
        card["batch"] = len(images)
        tried.append(len(images))

    monkeypatch.setattr(batch_probe.FastEncoder, "__call__", call)
    assert probed_batch(small_tokenizer(), torch.device("cpu"), 512) == 256
    assert tried == [16, 32, 64], "a batch of 256 x 256 is a quarter as many of 512 x 512"
