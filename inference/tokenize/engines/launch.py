"""Processes that torchrun or accelerate launch has started, each with its rank, and how they find rank 0."""

import os
import pickle
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Client, Connection, Listener
from queue import SimpleQueue
from typing import Any, NamedTuple

import torch
from torch.distributed.rendezvous import rendezvous

from .... import __version__
from ....tokenizer.errors import WorkFailedError

RANK = "rank "
"""How messages begin the name of a process."""
ADDRESS = "vistok-address"
"""Key of the launch's store under which rank 0 says where it listens."""
JOINED_WITHIN = 600.0
"""Seconds within which all processes of a launch join."""
LISTENS_WITHIN = 600.0
"""Seconds within which rank 0 has said so."""
KEPT_ALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Finds out within a minute that a machine is gone."""
STARTED_BY_TORCHRUN = "TORCHELASTIC_RUN_ID"
PARENT_CHECKED_EVERY = 1.0
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


class Launch(NamedTuple):
    """Which process of a launch this one is."""

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    """Processes on this machine."""

    @property
    def name(self) -> str:
        """What messages call this process."""
        return f"{RANK}{self.rank} on {socket.gethostname()}"

    def hello(self, device_type: str) -> "Hello":
        """Return what this process says of itself."""
        return hello_of(f"{RANK}{self.rank}", device_type, self.rank)


class Hello(NamedTuple):
    """What a process says of itself when it joins rank 0."""

    rank: int
    name: str
    versions: dict[str, str]


def find_launch() -> Launch | None:
    """Return the launch by the variables of the environment; None where this process is alone.

    Raises ValueError when they are no numbers that fit.
    """
    found = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    if "RANK" not in found or found.get("WORLD_SIZE", "1") == "1":
        return None
    text = " ".join(f"{name}={value}" for name, value in found.items())
    if not all(value.isdecimal() for value in found.values()) or int(found["RANK"]) >= int(found["WORLD_SIZE"]):
        raise ValueError(f"The environment has {text}: let torchrun or accelerate launch set RANK below WORLD_SIZE.")
    numbers = {name: int(value) for name, value in found.items()}
    rank, world_size = numbers["RANK"], numbers["WORLD_SIZE"]
    local_rank = numbers.get("LOCAL_RANK", rank)
    return Launch(rank, world_size, local_rank, numbers.get("LOCAL_WORLD_SIZE", 1))


def hello_of(name: str, device_type: str, rank: int = 0) -> Hello:
    """Return what this process says of itself: all that its tokens depend on but for the tokenizer."""
    versions = {"vistok": __version__, "torch": torch.__version__, "a device of type": device_type}
    return Hello(rank, f"{name} on {socket.gethostname()}", versions)


def check_same_versions(one: Hello, other: Hello) -> None:
    """Raise ValueError when two processes would not make the same tokens."""
    for what, version in one.versions.items():
        if version != other.versions[what]:
            raise ValueError(
                f"{one.name} has {what} {version}, but {other.name} has {other.versions[what]}: use the same on all machines."
            )


def listen(launch: Launch) -> tuple[Listener, bytes, Any]:
    """Return a listener of rank 0 whose address the other processes find, and the key that they have.

    Keep the store, which comes last, until all of them have joined. Raises WorkFailedError when they do not come.
    """
    try:
        store = _store(launch)
    except RuntimeError as error:
        raise WorkFailedError(
            f"{launch.name} does not meet all {launch.world_size} processes of the launch ({_first_words(error)}): see what "
            "the others say."
        ) from None
    host = os.environ.get("MASTER_ADDR", "localhost")
    is_local = host in ("localhost", "127.0.0.1", "::1")
    key = os.urandom(32)
    listener = Listener(("127.0.0.1" if is_local else "", 0), backlog=launch.world_size)
    port = listener.address[1]
    store.set(ADDRESS, pickle.dumps(("127.0.0.1" if is_local else host, port, key)).hex())
    return listener, key, store


def join(launch: Launch, greeting: Hello) -> Connection:
    """Connect to rank 0; raise WorkFailedError when it is not there."""
    try:
        store, until = _store(launch), time.monotonic() + LISTENS_WITHIN
        while not store.check([ADDRESS]) and time.monotonic() < until:  # waiting inside torch would hold up Ctrl-C
            time.sleep(0.1)
        host, port, key = pickle.loads(bytes.fromhex(store.get(ADDRESS).decode()))
        connection = Client((host, port), authkey=key)
        keep_alive(connection)
        connection.send(greeting)
    except (OSError, EOFError, RuntimeError) as error:  # torch's errors of a store are RuntimeErrors
        raise WorkFailedError(
            f"{launch.name} does not reach rank 0 ({_first_words(error)}): see what that one says."
        ) from None
    return connection


def _first_words(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".")


def keep_alive(connection: Connection) -> None:
    """Let the system find out that the other machine is gone."""
    with socket.socket(fileno=os.dup(connection.fileno())) as copy:
        copy.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEPT_ALIVE.items():
            if hasattr(socket, name):
                copy.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def watch_launcher(end: Callable[[], None]) -> None:
    """Call a function when torchrun, which started this process and would end it, has itself been killed."""
    if STARTED_BY_TORCHRUN in os.environ:
        threading.Thread(target=_watch, args=(os.getppid(), end), name="vistok-launcher", daemon=True).start()


def _watch(parent: int, end: Callable[[], None]) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECKED_EVERY)
    end()


def _store(launch: Launch) -> Any:
    """Return the store of a launch once all processes are there; in a thread, since waiting in torch holds up Ctrl-C."""
    found: SimpleQueue[Any] = SimpleQueue()
    within = timedelta(seconds=JOINED_WITHIN)

    def connect() -> None:
        try:
            found.put(next(rendezvous("env://", launch.rank, launch.world_size, timeout=within))[0])
        except Exception as error:
            found.put(error)

    thread = threading.Thread(target=connect, name="vistok-rendezvous", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
    store = found.get()
    if isinstance(store, Exception):
        raise store
    return store
