"""Functions that run on two processes, connected by gloo."""

import importlib.util
import inspect
import sys

from processes import run_python


def on_two_ranks(work, folder):
    """Run `work(rank, folder)` of a test file on two ranks, each with one thread.

    They are forked from a new process: threads that a test before started, such as those of autograd, do not survive a fork.
    """
    ended = run_python(__file__, inspect.getfile(work), work.__name__, str(folder))
    assert ended.returncode == 0, ended.stderr


def _rank(rank, path, name, folder):
    from pathlib import Path

    import torch
    from torch import distributed

    torch.set_num_threads(1)
    specification = importlib.util.spec_from_file_location("work", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    getattr(module, name)(rank, Path(folder))
    distributed.destroy_process_group()


if __name__ == "__main__":
    from torch import multiprocessing

    multiprocessing.start_processes(_rank, tuple(sys.argv[1:]), nprocs=2, start_method="fork")
