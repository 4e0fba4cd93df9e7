"""A process for each device: the same bytes, also when workers are killed, and nobody is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from processes import environment
from samples import image_bytes, noise_image

RUN = "from vistok.cli.launch import tokenize_images; tokenize_images()"
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
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(40):
        content = image_bytes(noise_image(300, 300, index), "PNG")
        (folder / f"{index:02}.png").write_bytes(b"broken" if index == 7 else content)
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def started(*arguments, devices="cpu,cpu", **more):
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *map(str, arguments), "--devices", devices],
        env=environment(OMP_NUM_THREADS="1", **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(process):
    return list(map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()))


def wait_for_shards(out, process, count):
    while process.poll() is None and len(list(out.glob("*.tar"))) < count:
        time.sleep(0.01)
    assert process.poll() is None


def have_ended(processes):
    until = time.monotonic() + 10
    while any(os.path.exists(f"/proc/{each}") for each in processes) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(os.path.exists(f"/proc/{each}") for each in processes)


def test_killed_workers_are_replaced_and_cost_nothing(tokenize, photos, tokenizer_folder, tmp_path):
    call = [photos, "--model", tokenizer_folder, "--shard-size", 2]
    process = started(*call, "--out", tmp_path / "out", "--batch-size", 1)
    wait_for_shards(tmp_path / "out", process, 2)
    before = children(process)
    os.kill(before[0], signal.SIGKILL)
    said, complained = process.communicate(timeout=60)
    assert process.returncode == 0 and "on cpu, cpu" in said and "39 images in 20 shards, 1 fail" in said, (
        said + complained
    )
    assert len(before) == 2 and have_ended(before) and complained == ""
    tokenize(photos, "--shard-size", 2, "--out", tmp_path / "alone")
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_leaves_no_process_behind_and_the_same_command_goes_on(
    tokenize, photos, tokenizer_folder, tmp_path, number
):
    call = [photos, "--model", tokenizer_folder, "--shard-size", 2, "--out", tmp_path / "out", "--batch-size", 1]
    process = started(*call)
    wait_for_shards(tmp_path / "out", process, 2)
    workers = children(process)
    process.send_signal(number)
    # The next one waits until the workers of a killed one have ended.
    said = "" if number == signal.SIGINT else tokenize(photos, "--shard-size", 2, "--out", tmp_path / "out")
    _, complained = process.communicate(timeout=20)
    assert len(workers) == 2 and have_ended(workers)
    if number == signal.SIGINT:
        assert process.returncode == 1 and complained.startswith("tokenize-images: interrupted: run the same")
        assert complained.count("\n") == 1
        said = tokenize(photos, "--shard-size", 2, "--out", tmp_path / "out")
    assert "0 done before" not in said
    tokenize(photos, "--shard-size", 2, "--out", tmp_path / "alone")
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


def test_a_shard_that_kills_its_workers_is_named_and_the_others_are_made(tokenize, photos, tokenizer_folder, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "poisoned.py").write_text(POISONED)
    call = [photos, "--model", tokenizer_folder, "--shard-size", 4, "--out", tmp_path / "out"]
    main = "from vistok.inference.tokenize.engines import worker_process; import poisoned; worker_process.main()"
    patched = f"""
import sys; sys.path.insert(0, {str(tmp_path / "site")!r})
from vistok.inference.tokenize.engines import processes
processes.CODE = {main!r}
"""
    process = subprocess.Popen(
        [sys.executable, "-c", patched + RUN, *map(str, call), "--devices", "cpu,cpu"],
        env=environment(OMP_NUM_THREADS="1"),
        stdout=subprocess.PIPE,
        text=True,
    )
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1 and "8 written, 0 done before" in said, said
    for index, reason in (
        (3, "was killed by SIGKILL"),
        (5, "failed (RuntimeError: CUDA error: an illegal memory access)"),
    ):
        assert f"  lost: images-0000{index}: 3 workers ended over it, the last one {reason}" in said
    assert "nothing was written for 2 lost shards: run the same command again" in said
    assert "2 written, 8 done before" in tokenize(photos, "--shard-size", 4, "--out", tmp_path / "out")


def test_a_worker_that_meets_an_error_of_users_ends_the_run_in_its_sentence(photos, tokenizer_folder, tmp_path):
    call = [photos, "--model", tokenizer_folder, "--shard-size", 4, "--out", tmp_path / "out", "--on-error", "stop"]
    said, complained = (process := started(*call)).communicate(timeout=60)
    assert process.returncode == 1 and said.count("\n") == 1
    assert complained.startswith("tokenize-images: 07.png: ") and complained.endswith(
        "(--on-error skip goes on without it).\n"
    )


def test_workers_that_cannot_start_end_the_run_in_a_sentence(photos, tokenizer_folder, tmp_path):
    code = "from vistok.inference.tokenize.engines import processes; processes.CODE = 'raise SystemExit(3)'; "
    process = subprocess.Popen(
        [sys.executable, "-c", code + RUN, str(photos), "--out", str(tmp_path / "out"), "--model", str(tokenizer_folder),
         "--devices", "cpu,cpu", "--shard-size", "4"],
        env=environment(OMP_NUM_THREADS="1"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    _, complained = process.communicate(timeout=60)
    sentence = "tokenize-images: No worker is left: the last one, on cpu, ended with exit code 3.\n"
    assert process.returncode == 1 and complained == sentence
