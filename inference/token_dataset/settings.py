"""The settings of a stream: what decides which rows a rank gets, and in which order."""

import os
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

import torch

Uneven = Literal["keep", "drop", "repeat"]


class StreamSettings(NamedTuple):
    """What decides the order of a stream, beside its folder and the number of workers."""

    shuffle_buffer: int
    seed: int
    rank: int
    world_size: int
    uneven: Uneven


def settings_of(
    shuffle_buffer: int, seed: int, rank: int | None, world_size: int | None, uneven: Uneven
) -> StreamSettings:
    """Check the settings of a stream; raise ValueError."""
    if shuffle_buffer < 0:
        raise ValueError(f"shuffle_buffer is {shuffle_buffer}, but must be a number of rows, or 0 for rows in order.")
    if uneven not in get_args(Uneven):
        raise ValueError(f"uneven is {uneven!r}, but must be one of {', '.join(get_args(Uneven))}.")
    if (rank is None) != (world_size is None):
        raise ValueError("Only one of rank and world_size was given: give both, or none.")
    if rank is None or world_size is None:
        rank, world_size = _launched()
    if not 0 <= rank < world_size:
        raise ValueError(f"rank is {rank} and world_size {world_size}, but ranks are 0 to world_size - 1.")
    return StreamSettings(shuffle_buffer, seed, rank, world_size, uneven)


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], epoch: int) -> None:
    """Raise ValueError, naming what differs, when a state is of another order of rows than a stream."""
    differing = [name for name in now if before.get(name) != now[name]]
    if differing:
        shown = [name for name in differing if name != "rows"] or differing
        named = {"dataset": "another set of shards"}
        old = " and ".join(named.get(name, f"{name} {before.get(name)}, not {now[name]}") for name in shown)
        raise ValueError(
            f"The state is of a stream with {old}: its rows come in another order there. Make the stream as it was, or begin "
            f"the next epoch with set_epoch({epoch + 1})."
        )


def _launched() -> tuple[int, int]:
    """Return the rank of this process and the number of ranks, as torch.distributed or a launcher says."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    rank, world_size = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
    return (int(rank), int(world_size)) if rank.isdecimal() and world_size.isdecimal() else (0, 1)
