"""Functions that run on two processes, connected by gloo."""

import importlib.util
import inspect
import sys
from pathlib import Path

from prepared import run_ranks


def on_two_ranks(work, folder):
    """Run `work(rank, folder)` of a test file on two ranks, each with one thread."""
    run_ranks(__file__, [inspect.getfile(work), work.__name__, folder], folder)


def _work(path, name, folder):
    from torch import distributed

    specification = importlib.util.spec_from_file_location("work", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    distributed.init_process_group("gloo")
    getattr(module, name)(distributed.get_rank(), Path(folder))
    distributed.destroy_process_group()


if __name__ == "__main__":
    _work(*sys.argv[1:])
