"""Where a call works: its engine, its devices, and its part in a launch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch

from ...cli.options import find_entry
from ...tokenizer.devices import default_device
from ...tokenizer.system import usable_cores
from .devices import device_of_rank, parse_cluster_devices, parse_devices
from .engines.launch import Launch, find_launch, watch_launcher
from .engines.ray_cluster import import_ray
from .engines.remote_job import Place, own_place, places_for
from .engines.table import ENGINES, LOCAL, RAY, EngineFactory
from .job import Placement


class Site(NamedTuple):
    """Where a call works."""

    engine: EngineFactory
    placement: Placement
    place: Place
    """That of this process."""
    wait_for_others: Callable[[], object] = lambda: None
    """Returns when all processes of a launch are there and have the same versions; raises ValueError and WorkFailedError."""


@contextmanager
def open_site(
    engine: str, devices: str, ray_address: str | None, workers: int | None, fast: bool
) -> Iterator[Site | None]:
    """Yield where a call works by its options, or None in a process of a launch that has helped rank 0 to the end.

    Raises ValueError, and there also WorkFailedError. The other processes learn how the body ends.
    """
    factory = find_entry(ENGINES, "engine", engine)
    if ray_address and engine != RAY:
        raise ValueError(
            f"--ray-address is {ray_address}, but --engine is {engine}, which has no cluster: give --engine {RAY} too."
        )
    launch = find_launch()
    if launch is not None:
        with _launched_site(launch, engine, devices, workers) as site:
            yield site
    elif engine == RAY:
        import_ray()
        placement = Placement(parse_cluster_devices(devices), is_cluster=True, ray_address=ray_address, readers=workers)
        # --fast is compared with float32 here; else this process only reads the fingerprint.
        yield Site(factory, placement, own_place(str(default_device()) if fast else "cpu", 1, None))
    else:
        found = parse_devices(devices)
        (place,) = places_for(found[:1], workers or usable_cores())
        yield Site(factory, Placement(found), place)


@contextmanager
def _launched_site(launch: Launch, engine: str, devices: str, workers: int | None) -> Iterator[Site | None]:
    """Yield the site of rank 0; in another process first make shards until the run is over."""
    from .engines.launched import LaunchedEngine, end_now, help_rank_zero
    from .engines.meeting import Meeting

    if engine != LOCAL:
        raise ValueError(
            f"--engine is {engine}, which starts its processes itself, but this one is {launch.name} of "
            f"{launch.world_size}: leave out --engine, or the launcher."
        )
    watch_launcher(partial(end_now, "the launcher has ended: run the same command again to continue."))
    device = device_of_rank(devices, launch.local_rank)
    place, device_type = own_place(device, launch.local_world_size, workers), torch.device(device).type
    if launch.rank:
        help_rank_zero(launch, place, device_type)
        yield None
        return
    with Meeting(launch, device_type) as meeting:
        placement = Placement((device,), launch.world_size)
        yield Site(partial(LaunchedEngine, meeting=meeting), placement, place, meeting.workers)
