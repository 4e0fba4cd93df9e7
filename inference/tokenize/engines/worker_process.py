"""A process that makes shards on one device for the process that started it, with which it ends."""

import os
import sys
from multiprocessing.connection import Connection

from .remote_job import Place
from .worker import Desk, ending, serve


def main() -> None:
    """Serve the connection whose descriptor is the argument; its end is the end of the process, whatever that does."""
    connection = Connection(int(sys.argv[1]))
    place: Place = connection.recv()
    desk = Desk(connection, lambda _: os._exit(0))
    try:
        job = desk.job(place)
    except Exception as error:
        desk.leave(ending(error))
        sys.exit(1)
    try:
        serve(desk, job)
    except Exception:
        sys.exit(1)  # it has said why
