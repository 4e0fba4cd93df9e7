"""A process for each device: the same bytes, also when workers are killed, and nobody is left behind."""

import os
import signal
from pathlib import Path

import pytest
from waiting import held_after, is_running, wait_for_ends, wait_for_shards, wait_until

from shard_files import contents
from vistok.inference.tokenize.engines import processes

POISONED = """
import os, signal
from vistok.inference.tokenize.engines import stream
finish = stream.finish
def dying(work, job):
    if work.task.name == "images-00003":
        os.kill(os.getpid(), signal.SIGKILL)
    if work.task.name == "images-00005":
        raise RuntimeError("CUDA error: an illegal memory access")
    return finish(work, job)
stream.finish = dying
"""


@pytest.fixture
def begin(start, tokenizer_folder, tmp_path):
    """Start the command with two processes, which run some code first."""

    def begin(*arguments, workers="", before=None):
        prepare = f"from prepared import prepare_workers; prepare_workers({str(tmp_path / 'pids')!r}, {workers!r})"
        call = [*arguments, "--model", tokenizer_folder, "--devices", "cpu,cpu"]
        return start(call, prepare if before is None else before)

    return begin


def children(process):
    return list(map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()))


def pids(folder):
    return list(map(int, (folder / "pids").read_text().split()))


def test_killed_workers_are_replaced_and_cost_nothing(tokenize, begin, photos, tmp_path):
    call = [photos, "--shard-size", 2, "--out", tmp_path / "out", "--batch-size", 1]
    process = begin(*call, workers=held_after(2))
    wait_for_shards(tmp_path / "out", 2, process)
    before = pids(tmp_path)
    os.kill(before[0], signal.SIGKILL)
    assert len(before) == 2
    wait_until(lambda: len(pids(tmp_path)) == 3, process)
    (tmp_path / "go").touch()
    said, complained = process.communicate(timeout=150)
    assert process.returncode == 0 and "on cpu, cpu" in said and "39 images in 20 shards, 1 fail" in said, (
        said + complained
    )
    assert len(pids(tmp_path)) == 3 and complained == ""
    wait_for_ends(pids(tmp_path))
    tokenize(photos, "--shard-size", 2, "--out", tmp_path / "alone")
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


def test_a_folder_that_is_done_starts_no_process(tokenize, photos, tmp_path, monkeypatch):
    tokenize(photos, "--out", tmp_path / "out")
    monkeypatch.setattr(processes, "start_process", None)
    assert "0 written, 1 done before" in tokenize(photos, "--out", tmp_path / "out", "--devices", "cpu,cpu")


def test_ctrl_c_leaves_no_process_behind_and_the_same_command_goes_on(tokenize, begin, photos, tmp_path):
    call = [photos, "--shard-size", 2, "--out", tmp_path / "out"]
    process = begin(*call, "--batch-size", 1, workers=held_after(2))
    wait_for_shards(tmp_path / "out", 2, process)
    process.send_signal(signal.SIGINT)
    _, complained = process.communicate(timeout=30)
    assert len(pids(tmp_path)) == 2 and not any(map(is_running, pids(tmp_path)))
    assert process.returncode == 1 and complained.startswith("tokenize-images: interrupted: run the same")
    assert complained.count("\n") == 1
    assert "0 done before" not in tokenize(*call)
    tokenize(photos, "--shard-size", 2, "--out", tmp_path / "alone")
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


SLOW_END = """
import os, time
leave = os._exit
os._exit = lambda code: (time.sleep(1), leave(code))
"""


def test_the_workers_of_a_killed_command_end_before_the_next_one_begins(tokenize, begin, photos, tmp_path):
    """They are started as users' are, which the other tests spare: an import of torch takes seconds."""
    call = [photos, "--shard-size", 2, "--out", tmp_path / "out"]
    main = f"{SLOW_END}{held_after(2)}\nfrom vistok.inference.tokenize.engines import worker_process; worker_process.main()"
    code = f"exec({main!r})"
    before = f"from vistok.inference.tokenize.engines import processes; processes.CODE = {code!r}"
    process = begin(*call, "--batch-size", 1, before=before)
    wait_for_shards(tmp_path / "out", 2, process)
    workers = children(process)
    process.kill()
    assert process.wait() == -signal.SIGKILL and len(workers) == 2  # its workers are alive for another second
    said = tokenize(*call)
    assert not any(map(is_running, workers)) and "0 done before" not in said
    tokenize(photos, "--shard-size", 2, "--out", tmp_path / "alone")
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


def test_a_shard_that_kills_its_workers_is_named_and_the_others_are_made(tokenize, begin, photos, tmp_path):
    call = [photos, "--shard-size", 4, "--out", tmp_path / "out"]
    process = begin(*call, workers=POISONED)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1 and "8 written, 0 done before" in said, said
    for index, reason in (
        (3, "was killed by SIGKILL"),
        (5, "failed (RuntimeError: CUDA error: an illegal memory access)"),
    ):
        assert f"  lost: images-0000{index}: 3 workers ended over it, the last one {reason}" in said
    assert "nothing was written for 2 lost shards: run the same command again" in said
    assert "2 written, 8 done before" in tokenize(*call)


def test_a_worker_that_meets_an_error_of_users_ends_the_run_in_its_sentence(begin, photos, tmp_path):
    process = begin(photos, "--shard-size", 4, "--out", tmp_path / "out", "--on-error", "stop")
    said, complained = process.communicate(timeout=150)
    assert process.returncode == 1 and said.count("\n") == 1
    assert complained.startswith("tokenize-images: 07.png: ") and complained.endswith(
        "(--on-error skip goes on without it).\n"
    )


def test_workers_that_cannot_start_end_the_run_in_a_sentence(begin, photos, tmp_path):
    before = "from vistok.inference.tokenize.engines import processes; processes.CODE = 'raise SystemExit(3)'"
    process = begin(photos, "--out", tmp_path / "out", "--shard-size", "4", before=before)
    _, complained = process.communicate(timeout=150)
    sentence = "tokenize-images: No worker is left: the last one, on cpu, ended with exit code 3.\n"
    assert process.returncode == 1 and complained == sentence
