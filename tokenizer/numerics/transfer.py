"""Copies between the host and a GPU that let both work on: through pinned memory, on streams of their own."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")
Finish: TypeAlias = Callable[[], Result]
"""Waits for work that has begun, and returns its result."""

IN_FLIGHT = 3
"""Batches that are begun before the result of the first is waited for: one is copied in while one computes and one is copied
out."""


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Return values on `device`, where work on the current stream may use them at once; the host does not wait.

    The values may be changed as soon as this returns, except in pinned memory, where they must stay until they are used.
    """
    if device.type != "cuda" or values.device.type != "cpu":
        return values.to(device)
    staged = values if values.is_pinned() else _pinned_like(values).copy_(values)
    computing = torch.cuda.current_stream(device)
    stream = _streams(computing.device)[0]
    with torch.cuda.stream(stream):
        copied = staged.to(device, non_blocking=True)
    computing.wait_stream(stream)
    copied.record_stream(computing)
    return copied


def to_host(*values: Tensor) -> Finish[tuple[Tensor, ...]]:
    """Begin to copy values to the host; the function that is returned waits for them alone, not for what is begun later."""
    device = values[0].device
    if device.type != "cuda":
        return lambda: tuple(value.cpu() for value in values)
    computing = torch.cuda.current_stream(device)
    stream = _streams(computing.device)[1]
    stream.wait_stream(computing)
    with torch.cuda.stream(stream):
        copies = tuple(_pinned_like(value).copy_(value, non_blocking=True) for value in values)
        for value in values:
            value.record_stream(stream)
        copied = stream.record_event()

    def finish() -> tuple[Tensor, ...]:
        copied.synchronize()
        return tuple(copy.clone() for copy in copies)  # frees the pinned memory, of which there is little

    return finish


def in_flight(begun: Iterable[Finish[Result]], count: int = IN_FLIGHT) -> Iterator[Result]:
    """Yield the results of work in order, with at most `count` begun that are not finished."""
    waiting: deque[Finish[Result]] = deque()
    for finish in begun:
        waiting.append(finish)
        if len(waiting) == count:
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()


def _pinned_like(values: Tensor) -> Tensor:
    # torch keeps pinned memory that was freed, and gives it out again when the copies from it are done.
    return torch.empty(values.shape, dtype=values.dtype, device="cpu", pin_memory=True)


@cache
def _streams(device: torch.device) -> tuple[torch.cuda.Stream, torch.cuda.Stream]:
    """Return the streams of a device that has an index: without one it is the current device, which may change."""
    return torch.cuda.Stream(device), torch.cuda.Stream(device)
