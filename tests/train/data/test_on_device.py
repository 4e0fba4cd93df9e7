"""Batches reach a GPU whole, in order, and no step waits for the copy of the batch after its own."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from vistok.train.data.batches import Batch
from vistok.train.data.on_device import batches_on


@pytest.fixture
def events(monkeypatch):
    """What is asked of streams, on a machine without a GPU."""
    events = []
    copying = SimpleNamespace(record_event=lambda: f"copied {events[-1].removeprefix('copy ')}")
    working = SimpleNamespace(wait_event=lambda event: events.append(f"step waits until {event}"))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: copying)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: working)
    return events


def crops(events, number):
    there = SimpleNamespace(record_stream=lambda stream: events.append(f"keep {number}"))

    def to(device, non_blocking):
        assert non_blocking
        events.append(f"copy {number}")
        return there

    return SimpleNamespace(to=to)


def test_the_next_batch_is_copied_first_and_not_waited_for(events):
    batches = iter([Batch(crops(events, number), []) for number in range(2)])
    for _ in batches_on(batches, torch.device("cuda", 0)):
        events.append("step")
    first = ["copy 0", "copy 1", "step waits until copied 0", "keep 0", "step"]
    assert events == [*first, "step waits until copied 1", "keep 1", "step"]


def test_an_error_comes_in_its_place(events):
    def failing():
        yield Batch(crops(events, 0), [])
        raise OSError("gone")

    batches = batches_on(failing(), torch.device("cuda", 0))
    next(batches)
    with pytest.raises(OSError, match="gone"):
        next(batches)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_every_batch_arrives_on_a_busy_gpu():
    device = torch.device("cuda", 0)
    sent = [torch.randint(256, (8, 64, 64, 3), dtype=torch.uint8) for _ in range(12)]
    work = torch.randn(2048, 2048, device=device)
    received = []
    for batch in batches_on(iter([Batch(each.pin_memory(), []) for each in sent]), device):
        work = (work @ work).clamp(-1, 1)
        received.append(batch.crops + 0)
    assert all(torch.equal(back.cpu(), each) for back, each in zip(received, sent, strict=True))
