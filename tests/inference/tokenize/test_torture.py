"""Killed at random moments, tokenize-images ends with the bytes of a run that nobody disturbed."""

import argparse
import itertools
import sys
from pathlib import Path

import pytest
from prepared import Program
from waiting import is_running

SCRIPTS = Path(__file__).parents[3] / "scripts"


class Binary(Program):
    """A program whose outputs are bytes, as the script takes them."""

    def communicate(self, timeout=None):
        return [said.encode() for said in super().communicate(timeout)]


@pytest.fixture
def torture(monkeypatch, tmp_path):
    """The script, which starts prepared processes: its own import torch, which takes seconds each."""
    monkeypatch.syspath_prepend(SCRIPTS)
    import torture_tokenize

    import torture_engines

    programs, numbers = [Program("", [])], itertools.count()
    programs[0].wait()  # the first one may start slowly, and the script measures how long a run takes

    def started(code, arguments, environment):
        threads = f"import torch; torch.set_num_threads({environment['OMP_NUM_THREADS']})"
        programs.append(Binary(f"{threads}\n{code}", arguments, **environment))
        return programs[-1]

    def start_processes(arguments, environment, generator):
        pids = tmp_path / f"pids-{next(numbers)}"
        prepare = f"from prepared import prepare_workers; prepare_workers({str(pids)!r})\n"
        process = started(prepare + torture_engines.COMMAND, [*arguments, "--devices", "cpu,cpu"], environment)

        def workers(_):
            return [pid for pid in map(int, pids.read_text().split()) if is_running(pid)] if pids.exists() else []

        return torture_engines.Running([process], workers)

    monkeypatch.setattr(torture_engines, "_started", started)
    monkeypatch.setattr(torture_engines, "start_processes", start_processes)
    yield torture_tokenize
    for program in programs:
        program.close()
    for name in ("torture_engines", "torture_inputs", "torture_tokenize"):
        sys.modules.pop(name, None)


def test_kills_leave_no_trace(torture, tokenizer_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    options = argparse.Namespace(
        kills=4,
        images=48,
        model=str(tokenizer_folder),
        size="64",
        engines="local,processes,launched",
        formats="wds,megatron",
        minutes=10,
        seed=0,
    )
    facts = torture.Torture(tmp_path, options).run()
    assert facts["differences"] == [] and facts["kills"] == 4 and sum(facts["runs"].values()) >= 5
    assert set(facts["folders"]) <= {"wds", "megatron"}
    assert facts["runs"].keys() <= {"local", "processes", "launched"}
    # Of the 48 photos 2 are broken; a link to nowhere, a fifo and a missing line come on top, and a long name that is fine.
    # Each of the 6 tars has 8 images, of which one is empty, 2 links and a fifo. The damaged one has no shard: exit code 1.
    assert (facts["images"], facts["failures"]) == (48 - 2 + 1 + 6 * (7 + 2), 2 + 3 + 6 * (1 + 1))
    assert (facts["exit_code"], facts["shards"]) == (1, -(-(48 + 4) // 4) + 6)
