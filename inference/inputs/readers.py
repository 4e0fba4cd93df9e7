"""Reading images ahead of the encoder, in threads of this process or in processes of their own."""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Protocol, TypeAlias, TypeVar

from ...images.prefetch import ahead_within
from ...tokenizer.preprocessing import PreprocessingConfig
from ...tokenizer.system import IS_WINDOWS
from .input_files import UnreadableInputError
from .process_readers import ProcessReaders
from .reading import ReadResult, read_image
from .samples import Sample

FED_BY_PROCESSES = ("cuda", "mps")
"""Types of device that encode images faster than threads decode them: these wait for the interpreter lock between the calls
of the decoder, and read about 1,600 JPEG files per second at most, however many cores there are. A CPU is busy with the
encoder, so threads keep up with it and start at once.
"""
HELD_BYTES = 1 << 27
"""Bytes (128 MB) of files that came with others, as those of a tar behind a URL, and wait to be read."""
Item = TypeVar("Item")
Made = TypeVar("Made")
Read: TypeAlias = Callable[[list[Sample]], list[ReadResult]]
"""Returns what became of each sample."""


class Readers(Protocol):
    """Reads images, from any number of threads."""

    lanes: int
    """Calls of `read` that go on at a time."""
    chunk: int
    """Samples per call that suit it."""

    def read(self, samples: list[Sample]) -> list[ReadResult]:
        """Return what became of each sample."""

    def close(self) -> None:
        """End at once."""


class ThreadReaders:
    """Reads images in the threads that call."""

    chunk = 1

    def __init__(self, config: PreprocessingConfig, multiple: int, threads: int):
        self.lanes = threads
        self._read = partial(read_image, config=config, multiple=multiple)

    def read(self, samples: list[Sample]) -> list[ReadResult]:
        return [self._attempt(sample) for sample in samples]

    def close(self) -> None:
        """Do nothing; there is nothing to end."""

    def _attempt(self, sample: Sample) -> ReadResult:
        try:
            return self._read(sample)
        except UnreadableInputError as error:
            return error


class ReaderPool:
    """Readers with a thread for each of their lanes, to be shared by all that encode; a context manager.

    Leaving it drops what is not read yet.
    """

    def __init__(self, readers: Readers):
        self._readers = readers
        self._threads = ThreadPoolExecutor(readers.lanes, thread_name_prefix="vistok-read")

    def __enter__(self) -> "ReaderPool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._readers.close()  # first, so that no thread waits for a process
        self._threads.shutdown(cancel_futures=True)

    def submit(self, samples: list[Sample]) -> Future[list[ReadResult]]:
        """Begin to read some samples."""
        return self._threads.submit(self._readers.read, samples)

    def ahead(
        self,
        items: Iterable[Item],
        make: Callable[[list[Item], Read], list[Made]],
        window: int,
        weight: Callable[[Made], int],
        limit: int,
        held: Callable[[Item], int] = lambda _: 0,
    ) -> Generator[Made, None, None]:
        """Yield what `make(items, read)` returns for each item, in order, begun about `window` items ahead.

        No item is begun while results that were not consumed yet weigh `limit`, nor taken while those that wait hold HELD_BYTES
        of memory. Close it before the pool.
        """
        size = self._readers.chunk
        chunks = iter(partial(_take, iter(items), size), [])
        with ExitStack() as stack:
            read = ahead_within(
                self._threads,
                lambda chunk: make(chunk, self._readers.read),
                chunks,
                -(-window // size) + 2 * self._readers.lanes,
                lambda made: sum(map(weight, made)),
                limit,
                lambda chunk: sum(map(held, chunk)),
                HELD_BYTES,
            )
            for made in stack.enter_context(closing(read)):
                yield from made


def _take(items: Iterable[Item], count: int) -> list[Item]:
    return list(islice(items, count))


def reads_in_processes(device: str) -> bool:
    """Return whether readers for a type of device are processes; Windows, where they cannot share memory so, has threads."""
    return device in FED_BY_PROCESSES and not IS_WINDOWS


def open_readers(config: PreprocessingConfig, multiple: int, count: int, in_processes: bool) -> ReaderPool:
    """Return a pool of `count` threads or processes that read and preprocess images."""
    return ReaderPool((ProcessReaders if in_processes else ThreadReaders)(config, multiple, count))
