"""A process that reads images for another, which is given its pixels in shared memory. It imports no torch.

Over each connection it gets lists of samples, each with the index of a slot or None, and answers each list by a list of
`Answer`. Before it decodes a large image, it sends the bytes that this takes, waits for True, and sends True at the end.
It ends with the process that started it, by the end of its connections.
"""

import mmap
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ...images.opening.memory_budget import BUDGET
from ...tokenizer.preprocessing import PreprocessingConfig
from .input_files import UnreadableInputError
from .reading import ReadImage, Unusable, read_image
from .samples import Sample

LENT_FROM = 1 << 24
"""Bytes of an image (16 MB) from which a process asks before it decodes."""


class Setting(NamedTuple):
    """What comes first over each connection."""

    config: PreprocessingConfig
    multiple: int
    slot_bytes: int


class InSlot(NamedTuple):
    """An image whose pixels are in its slot."""

    shape: tuple[int, ...]
    metadata: dict[str, Any]


class InMessage(NamedTuple):
    """An image that has no slot, or is larger."""

    pixels: np.ndarray
    metadata: dict[str, Any]


Answer: TypeAlias = InSlot | InMessage | Unusable | UnreadableInputError
Request: TypeAlias = list[tuple[Sample, int | None]]
_of_thread = threading.local()


class UnexpectedError(NamedTuple):
    """What comes instead of a list of answers, for an error that is no image's fault."""

    stack: str


def main() -> None:
    """Serve the connections whose descriptors follow that of the shared memory, each in a thread of its own."""
    memory, *connections = map(int, sys.argv[1:])
    BUDGET.lend = _borrow
    mapped = np.frombuffer(mmap.mmap(memory, 0), np.uint8)
    threads = [threading.Thread(target=_serve, args=(Connection(each), mapped)) for each in connections]
    for thread in threads:
        thread.start()
    threads[0].join()


def _serve(connection: Connection, memory: np.ndarray) -> None:
    _of_thread.connection = connection
    try:
        setting: Setting = _receive(connection)
        _send(connection, True)
        while True:
            _send(connection, _answers(_receive(connection), setting, memory))
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # rather than leave the other side waiting


def _answers(request: Request, setting: Setting, memory: np.ndarray) -> list[Answer] | UnexpectedError:
    try:
        return [_answer(sample, slot, setting, memory) for sample, slot in request]
    except Exception:
        return UnexpectedError(traceback.format_exc())


def _answer(sample: Sample, slot: int | None, setting: Setting, memory: np.ndarray) -> Answer:
    try:
        read = read_image(sample, setting.config, setting.multiple)
    except UnreadableInputError as error:
        return error
    if not isinstance(read, ReadImage):
        return read
    pixels = read.pixels
    if slot is None or pixels.size > setting.slot_bytes:
        return InMessage(pixels, read.metadata)
    start = slot * setting.slot_bytes
    memory[start : start + pixels.size].reshape(pixels.shape)[:] = pixels
    return InSlot(pixels.shape, read.metadata)


@contextmanager
def _borrow(amount: int) -> Iterator[None]:
    """Hold memory of the budget of the process that asks."""
    if amount < LENT_FROM:
        yield
        return
    connection: Connection = _of_thread.connection
    _send(connection, amount)
    _receive(connection)
    try:
        yield
    finally:
        _send(connection, True)


def _send(connection: Connection, message: Any) -> None:
    try:
        connection.send(message)
    except OSError:  # the process that started this one has ended
        os._exit(0)


def _receive(connection: Connection) -> Any:
    try:
        return connection.recv()
    except (EOFError, OSError):
        os._exit(0)
