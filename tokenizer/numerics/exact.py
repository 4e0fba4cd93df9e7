"""One result per image, whatever its neighbours, the number of threads and the settings of the process.

A convolution rounds differently at another batch size or number of threads, and between two nearly equal codes that would
change a token. So a network sees all images of one shape in batches of one shape. A CPU takes each image alone, on one thread;
other devices take batches of a fixed size, the last one padded.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from ..system import after_fork_in_child
from .float32 import own_numerics
from .transfer import to_device

Item = TypeVar("Item")
Result = TypeVar("Result")
Network: TypeAlias = Callable[[Tensor], tuple[Tensor, ...]]
"""From a batch to its results, each with one row per image."""

DEVICE_BATCH = 16
MAX_PIXELS = 1 << 22
"""Max pixels of a batch of at most 64 images, which has fewer where these are large."""
EXACT_PIXELS = 1 << 20
"""Max pixels of a batch on a GPU, unless its size is given. 16 images of 256 x 256 have 4,096 rows on a grid of 16 x 16: enough
tiles of a matrix product for all processors of a large GPU. With more, a single image, which is padded to a whole batch, would
take longer; and a second, smaller shape would round differently."""
_pools: dict[int, ThreadPoolExecutor] = {}
_lock = threading.Lock()


def batch_for(batch_size: int, height: int, width: int) -> int:
    """Return how many images of `height` x `width` go through a network together.

    Above 64, `batch_size` is that of images of 256 x 256.
    """
    return max(1, min(batch_size, max(MAX_PIXELS, batch_size << 16) // (height * width)))


def exact_batch(batch_size: int | None, height: int, width: int) -> int:
    """Return the one size of all batches of images of `height` x `width` on a GPU, by default that of EXACT_PIXELS."""
    if batch_size is not None:
        return batch_for(batch_size, height, width)
    return max(1, min(DEVICE_BATCH, EXACT_PIXELS // (height * width)))


def in_batches(images: Iterable[Tensor], batch_size: int = DEVICE_BATCH) -> Iterator[Tensor]:
    """Join consecutive images `1 c h w` of one shape into batches `b c h w`, in order."""
    waiting: list[Tensor] = []
    for image in images:
        if waiting and (image.shape != waiting[0].shape or len(waiting) == batch_for(batch_size, *image.shape[2:])):
            yield torch.cat(waiting)
            waiting = []
        waiting.append(image)
    if waiting:
        yield torch.cat(waiting)


def run_exactly(network: Network, batch: Tensor, device: torch.device, batch_size: int) -> tuple[Tensor, ...]:
    """Return `network(batch)`, calculated on `device` in float32, each row a pure function of its own image.

    `batch` is of any size and on any device. A CPU ignores `batch_size` and spreads the images over as many threads as torch
    may use. The results are on `device`, without gradients. On a GPU the work is begun, and the host waits for none of it.
    """

    def alone(image: Tensor) -> tuple[Tensor, ...]:
        with own_numerics(device):  # again, since this may be another thread
            return network(image.to(device))

    with own_numerics(device):
        if device.type == "cpu":
            parts = spread(alone, batch.split(1), torch.get_num_threads())
        else:
            parts = [filled_up(network, to_device(part, device), batch_size) for part in batch.split(batch_size)]
        return tuple(torch.cat(values) for values in zip(*parts, strict=True))


def filled_up(network: Network, part: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Return `network(part)`, calculated in a batch of `batch_size` that is padded with zeros."""
    missing = batch_size - len(part)
    filled = torch.cat([part, part.new_zeros(missing, *part.shape[1:])]) if missing else part
    return tuple(values[: len(part)] for values in network(filled))


def spread(work: Callable[[Item], Result], items: Sequence[Item], threads: int) -> list[Result]:
    """Return `work(item)` of each item, in order, each calculated by one of `threads` threads alone.

    torch's own threads share each operation, and wait at its end for a core that another program holds. These wait for
    nobody, and the results do not depend on their number. Give `torch.get_num_threads()` as a rule. With 1 the calling
    thread does the work. The others have grad mode, inference mode and autocast at their defaults, so `work` must set what
    it needs.
    """
    if threads == 1:
        return [work(item) for item in items]
    return list(_pool(threads).map(work, items))


def _pool(threads: int) -> ThreadPoolExecutor:
    with _lock:
        if threads not in _pools:
            _pools[threads] = _started(threads)
        return _pools[threads]


def _started(threads: int) -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(threads, thread_name_prefix="vistok")
    all_there = threading.Barrier(threads)

    def be_alone(_: int) -> None:
        all_there.wait()
        torch.get_num_threads()  # a thread takes over the count of the process when it first needs one: now, not later
        torch.set_num_threads(1)

    list(pool.map(be_alone, range(threads)))
    # torch counts threads for each thread separately, but a new thread starts with the count that was set last: restore it.
    torch.set_num_threads(threads)
    return pool


def _forget() -> None:
    global _lock
    _lock = threading.Lock()
    _pools.clear()


after_fork_in_child(_forget)  # the child has none of the threads
