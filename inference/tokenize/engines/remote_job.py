"""A job as other processes get it: without the tokenizer, which each loads for its own device."""

import socket
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import torch

from ....images.opening.memory_budget import BUDGET
from ....tokenizer.system import usable_cores
from ...api import load
from ...inputs.readers import reads_in_processes
from ..job import Job, encoders_for


class Place(NamedTuple):
    """What one of the processes of a machine encodes on, and with how many threads."""

    device: str
    readers: int
    encoders: int
    processes: int
    """How many there are on this machine."""


def places_for(devices: tuple[str, ...], readers: int) -> list[Place]:
    """Return a place for each device, with a fair part of all readers and of the machine's cores."""
    number = len(devices)
    cores = max(1, usable_cores() // number)
    return [
        Place(
            device,
            max(1, readers // number + (index < readers % number)),
            encoders_for(torch.device(device).type, cores),
            number,
        )
        for index, device in enumerate(devices)
    ]


def own_place(device: str, processes: int, readers: int | None) -> Place:
    """Return the place of this process, one of several on its machine; `readers` is for each of them."""
    cores = max(1, usable_cores() // processes)
    return Place(device, readers or cores, encoders_for(torch.device(device).type, cores), processes)


@dataclass(frozen=True)
class RemoteJob:
    """Plain data of a few KB."""

    settings: dict[str, Any]
    """The fields of the job but for the tokenizer."""

    @classmethod
    def of(cls, job: Job) -> "RemoteJob":
        """Return the job without its tokenizer."""
        return cls({field.name: getattr(job, field.name) for field in fields(job) if field.name != "tokenizer"})

    def load(self, place: Place) -> Job:
        """Return the job for a place, with the tokenizer there; raise ValueError when it is another one on this machine."""
        manifest, device = self.settings["manifest"], torch.device(place.device)
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)  # or pinned memory would take a context on the first one
        tokenizer = load(manifest.model, device)
        if tokenizer.config.preprocessing != manifest.preprocessing:
            tokenizer = tokenizer.with_preprocessing(manifest.preprocessing)
        if tokenizer.fingerprint != manifest.fingerprint:
            here, there = tokenizer.fingerprint[:12], manifest.fingerprint[:12]
            raise ValueError(
                f"{manifest.model} on {socket.gethostname()} has the fingerprint {here}, not {there} as where the run was "
                "started: put the same model on all machines."
            )
        BUDGET.take_part(place.processes)
        own = {
            "readers": place.readers,
            "encoders": place.encoders,
            "reads_in_processes": reads_in_processes(device.type),
        }
        return Job(**{**self.settings, **own}, tokenizer=tokenizer)
