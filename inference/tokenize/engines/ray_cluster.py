"""A Ray cluster: an existing one, or one on this machine for the duration of a call."""

import logging
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from ..job import Placement

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LOCAL_CLUSTER = "local"


class Workers(NamedTuple):
    """How many actors there are, and what each reserves."""

    number: int
    device: str
    cores: int
    per_node: int
    """Of the node that has most of them."""


def import_ray() -> Any:
    """Return the package; raise ValueError where it is not installed."""
    try:
        import ray
    except ImportError:
        raise ValueError("--engine ray needs Ray: pip install 'vistok[ray]', or take --engine local.") from None
    return ray


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """Yield the package, connected to the cluster at an address, or to one that is started here and ended with the body.

    Raises ValueError when nothing answers there.
    """
    ray = import_ray()
    address = address or os.environ.get("RAY_ADDRESS") or LOCAL_CLUSTER
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    logging.getLogger("ray").setLevel(logging.ERROR)
    options: dict[str, Any] = {"include_dashboard": False} if address == LOCAL_CLUSTER else {}
    try:
        ray.init(address, log_to_driver=False, configure_logging=False, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        why = str(error).strip().partition("\n")[0].rstrip(".")
        raise ValueError(f"No Ray cluster answers at {address} ({why}): check --ray-address and RAY_ADDRESS.") from None
    try:
        for number, handler in handlers.items():  # Ray would exit without a sentence
            signal.signal(number, handler)
        yield ray
    finally:
        ray.shutdown()


def workers_of(nodes: Sequence[dict[str, float]], placement: Placement) -> Workers:
    """Return the workers for a cluster of nodes, given by their resources; one for each GPU, or where there are none each node.

    Raises ValueError when the cluster has less than `placement.devices` ask for.
    """
    cores = [int(node.get("CPU", 0)) for node in nodes]
    cards = [int(node.get("GPU", 0)) for node in nodes]
    wanted = placement.devices
    device = wanted[0].partition(":")[0] if wanted else "cuda" if any(cards) else "cpu"
    if device == "cuda":
        count, there = len(wanted) or sum(cards), sum(cards)
        with_cards = [(own, number) for own, number in zip(cores, cards, strict=True) if number]
        each = min((own // number for own, number in with_cards), default=1)
    else:
        there = sum(cores)
        count = len(wanted) or sum(own > 0 for own in cores)
        # The most that all of them can have.
        each = next((number for number in range(max(cores, default=0), 0, -1) if _fitting(cores, number) >= count), 0)
    if not count or count > there:
        has = f"{sum(cards)} GPUs and {sum(cores)} cores"
        raise ValueError(f"--devices asks for {count} of {device}, but the Ray cluster has {has}: ask for fewer.")
    per_node = max(cards) if device == "cuda" else max(own // each for own in cores)
    return Workers(count, device, max(1, each), min(count, per_node))


def _fitting(cores: list[int], each: int) -> int:
    return sum(own // each for own in cores)
