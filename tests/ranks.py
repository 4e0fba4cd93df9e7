"""Functions that run on two processes, connected by gloo."""

from torch import distributed, multiprocessing


def on_two_ranks(work, folder):
    """Run `work(rank, folder)` on two ranks, each with one thread.

    Threads that a test before started, such as those of autograd, do not survive a fork, so the processes come from a server
    that never had any.
    """
    multiprocessing.start_processes(_rank, (work, folder), nprocs=2, start_method="forkserver")


def _rank(rank, work, folder):
    import torch

    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    work(rank, folder)
    distributed.destroy_process_group()
