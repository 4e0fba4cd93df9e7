"""Runs that are compiled for a part of their steps, as a program: beartype, which checks the other tests, cannot be traced.

Graphs run as they were traced (aot_eager), since generating code takes minutes. Prints what failed and ends with 1.
"""

import contextlib
import functools
import io
import re
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from runs import ADVERSARIAL, QUANTIZERS, config, interrupt_at, logged, new_process, train_again
from vistok.train import speed
from vistok.train.run import Run
from vistok.train.step import train_step

OPTIONS = [*QUANTIZERS["ema"], *ADVERSARIAL, "data.workers=0", "run.log_every=1", "run.save_every=1", "run.trackers=[]"]
BOTH = ["run.compile=true", "run.activation_checkpointing=true"]


class Patch:
    """What `interrupt_at` needs of pytest's monkeypatch."""

    def setattr(self, target, name, value):
        self.undo = functools.partial(setattr, target, name, getattr(target, name))
        setattr(target, name, value)


def compare_parts_with_the_whole(folder):
    """A run that is compiled for steps 1, 2 and 4 and not for step 3 is the run that never is."""
    whole = load_file(train_again(folder / "plain", *OPTIONS, steps=4) / "model.safetensors")
    printed = io.StringIO()
    for stop, options in ((3, ["run.compile=true"]), (4, []), (None, BOTH)):
        patch = Patch()
        if stop:
            interrupt_at(patch, stop)
        try:
            with contextlib.redirect_stdout(printed):
                train_again(folder / "parts", *OPTIONS, *options, steps=4)
        except KeyboardInterrupt:
            patch.undo()
    parts = load_file(folder / "parts" / "export" / "model.safetensors")
    assert parts.keys() == whole.keys(), sorted(parts.keys() ^ whole.keys())
    for name, weight in whole.items():  # equal in torch 2.14; the compiler of 2.9 takes other orders of sums
        torch.testing.assert_close(parts[name], weight, rtol=1e-4, atol=1e-5, msg=name)
    for expected, found in zip(logged(folder / "plain"), logged(folder / "parts"), strict=True):
        assert found.pop("alarms", []) == expected.pop("alarms", [])
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-5)
    for step, what in ((1, "the networks were"), (2, "the discriminator was"), (4, "the networks were")):
        assert re.search(rf"step {step} took \d+ s, in which {what} compiled\.", printed.getvalue()), printed.getvalue()
    assert "step 3 took" not in printed.getvalue()
    assert len(logged(folder / "parts")) == 4


def count_graphs(folder):
    """Nothing is compiled again once each network has run: not for R1, nor for the discriminator's two roles."""
    new_process()
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    run = Run(config(folder / "graphs", *OPTIONS, *BOTH, "run.gradient_accumulation=2", steps=100))
    batches, graphs = run.batches(0), []
    for step in range(1, 7):
        train_step(run, step, next(batches)[0], is_logged=False, is_checked=False)
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert graphs[0] > 0 and graphs[2] == graphs[-1], graphs  # the discriminator starts after step 1
    assert not torch._dynamo.utils.counters["graph_break"], torch._dynamo.utils.counters["graph_break"]


if __name__ == "__main__":
    speed.BACKEND = "aot_eager"
    count_graphs(Path(sys.argv[1]))
    compare_parts_with_the_whole(Path(sys.argv[1]))
