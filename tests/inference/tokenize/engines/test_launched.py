"""Processes that a launcher started share the shards; when one fails, all end in its sentence."""

import signal
import socket
import struct
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Listener

import pytest
from waiting import held_after, wait_for_shards, wait_until

from shard_files import contents
from vistok.inference.tokenize.engines import meeting
from vistok.inference.tokenize.engines.launch import Hello, Launch, check_same_versions, find_launch
from vistok.inference.tokenize.engines.meeting import Meeting


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def launched(start):
    """Start the processes of a launch, after some code; that of single ranks is given by `own`."""

    def launch(arguments, world_size, before="", own=()):
        port, own = free_port(), dict(own)
        return [
            start(
                arguments,
                own.get(rank, before),
                RANK=str(rank),
                WORLD_SIZE=str(world_size),
                LOCAL_RANK=str(rank),
                LOCAL_WORLD_SIZE=str(world_size),
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=str(port),
            )
            for rank in range(world_size)
        ]

    return launch


def outcomes(processes):
    said = [process.communicate(timeout=150) for process in processes]
    return [(process.returncode, *each) for process, each in zip(processes, said, strict=True)]


def test_any_number_of_ranks_makes_the_same_bytes_and_rank_0_alone_speaks(
    tokenize, launched, photos, tokenizer_folder, tmp_path
):
    out, alone = tmp_path / "out", tmp_path / "alone"
    tokenize(photos, "--out", alone, "--shard-size", 4)
    call = [photos, "--model", tokenizer_folder, "--shard-size", 4, "--out", out]
    first, *others = outcomes(launched(call, 3))
    assert first[0] == 0 and "39 tokenized, 1 failed" in first[1] and "on cpu in 3 processes" in first[1], first
    assert others == [(0, "", "")] * 2
    said = tokenize(photos, "--out", tmp_path / "again", "--shard-size", 4)
    (usage,) = (line for line in said.splitlines() if line.startswith("codebook "))
    assert usage in first[1] and contents(out) == contents(alone)
    for name in ("images-00002.json", "images-00007.json", "images-00008.tar"):
        (out / name).unlink()
    (first, _) = outcomes(launched(call, 2))
    assert "3 written, 7 done before" in first[1] and contents(out) == contents(alone)


@pytest.mark.parametrize(("killed", "world_size"), [(0, 2), (2, 3)])
def test_a_rank_that_is_killed_ends_the_others_in_a_sentence(
    tokenize, launched, photos, tokenizer_folder, tmp_path, killed, world_size
):
    out = tmp_path / "out"
    call = [photos, "--out", out, "--model", tokenizer_folder, "--shard-size", 2, "--batch-size", 1]
    processes = launched(call, world_size, before=held_after(2, seconds=1))
    wait_for_shards(out, 2, *processes)
    processes[killed].kill()
    told = time.monotonic()
    ended = outcomes(processes)
    assert time.monotonic() - told < 30
    sentence = "hands out shards has ended: run" if killed == 0 else "has ended without a word, so all others stop: run"
    for rank, (code, _, complained) in enumerate(ended):
        if rank == killed:
            assert code == -signal.SIGKILL
        else:
            assert code == 1 and complained.count("\n") == 1 and sentence in complained, complained
            assert complained.startswith("tokenize-images: ") and (killed == 0 or "rank 2 on " in complained)
    said = tokenize(photos, "--out", out, "--shard-size", 2)
    tokenize(photos, "--out", tmp_path / "alone", "--shard-size", 2)
    assert "0 done before" not in said and contents(out) == contents(tmp_path / "alone")


def test_a_signal_ends_all_in_a_sentence_each(launched, photos, tokenizer_folder, tmp_path):
    out = tmp_path / "out"
    call = [photos, "--out", out, "--model", tokenizer_folder, "--shard-size", 2, "--batch-size", 1]
    processes = launched(call, 2, before=held_after(2, seconds=1))
    wait_for_shards(out, 2, *processes)
    processes[1].send_signal(signal.SIGTERM)
    (zero, one) = outcomes(processes)
    assert one[0] == 1 and one[2] == "tokenize-images: interrupted: run the same command again to continue.\n"
    assert zero[0] == 1 and zero[2].startswith("tokenize-images: rank 1 on ") and "interrupted: run the same" in zero[2]


WAITING = """
from vistok.inference.tokenize.engines import launch
rendezvous = launch.rendezvous
launch.rendezvous = lambda *given, **options: (open({path!r}, "w").close(), rendezvous(*given, **options))[1]
"""


def alone(rank):
    """The variables of a process of two, of which the other one never comes."""
    variables = {
        "RANK": rank,
        "WORLD_SIZE": 2,
        "LOCAL_RANK": rank,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_port(),
    }
    return {name: str(value) for name, value in variables.items()}


@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_ends_a_process_that_waits_for_the_others(start, photos, tokenizer_folder, tmp_path, rank):
    call = [photos, "--out", tmp_path / "out", "--model", tokenizer_folder]
    process = start(call, WAITING.format(path=str(tmp_path / "waits")), **alone(rank))
    wait_until((tmp_path / "waits").exists, process)
    process.send_signal(signal.SIGTERM)
    _, complained = process.communicate(timeout=60)
    assert process.returncode == 1
    assert complained == "tokenize-images: interrupted: run the same command again to continue.\n"


@pytest.mark.parametrize(
    ("rank", "sentence"),
    [
        (0, "does not meet all 2 processes of the launch (Timed out after "),
        (1, "does not reach rank 0 (The client socket has timed out after "),
    ],
)
def test_a_process_whose_others_never_come_ends_in_a_sentence(
    start, photos, tokenizer_folder, tmp_path, rank, sentence
):
    call = [photos, "--out", tmp_path / "out", "--model", tokenizer_folder]
    before = "from vistok.inference.tokenize.engines import launch; launch.JOINED_WITHIN = 1.0"
    process = start(call, before, **alone(rank))
    _, complained = process.communicate(timeout=60)
    last = complained.splitlines()[-1]  # after what torch prints itself
    assert process.returncode == 1 and last.startswith(f"tokenize-images: rank {rank} on ") and sentence in last, (
        complained
    )
    assert last.endswith("): see what the others say." if rank == 0 else "): see what that one says.")
    assert not (tmp_path / "out").exists()


def test_another_model_or_a_wrong_call_on_a_rank_is_refused(launched, photos, tokenizer_folder, tmp_path):
    out = tmp_path / "out"
    call = [photos, "--out", out, "--model", tokenizer_folder]
    other = "from vistok.inference.tokenize.engines import remote_job; load = remote_job.load; "
    other += "remote_job.load = lambda model, device: load('photo-f8', device); "
    zero, one = outcomes(launched(call, 2, own={1: other}))
    assert not list(out.glob("*.tar"))
    assert one[0] == 2 and "has the fingerprint " in one[2] and "put the same model on all machines." in one[2], one
    assert zero[0] == 2 and zero[2].startswith("tokenize-images: rank 1 on ") and "has the fingerprint" in zero[2]
    assert zero[2].count("\n") == one[2].count("\n") == 1
    zero, one = outcomes(launched(["nothing.png", "--out", out, "--model", tokenizer_folder], 2))
    assert zero[0] == 2 and zero[2].startswith("tokenize-images: nothing.png does not exist")
    assert one[0] == 1 and ": nothing.png does not exist" in one[2] and one[2].startswith("tokenize-images: rank 0 on ")


def test_an_engine_with_processes_of_its_own_is_refused_in_a_launch(tokenize, photos, tmp_path, monkeypatch):
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "4")):
        monkeypatch.setenv(name, value)
    said = tokenize(photos, "--out", tmp_path / "out", "--engine", "ray", code=2)
    assert "--engine is ray, which starts its processes itself, but this one is rank 1 on " in said
    assert " of 4: leave out --engine, or the launcher." in said


def test_somebody_who_says_nothing_or_leaves_keeps_nobody_from_joining(monkeypatch):
    key, listener = b"key", Listener(("127.0.0.1", 0))
    monkeypatch.setattr(meeting, "listen", lambda launch: (listener, key, None))
    monkeypatch.setattr(meeting, "JOINED_WITHIN", 30.0)
    with Meeting(Launch(0, 2, 0, 2), "cpu") as here, socket.create_connection(listener.address):
        leaving = socket.create_connection(listener.address)
        leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # by a reset
        leaving.close()
        with pytest.raises(AuthenticationError):
            Client(listener.address, authkey=b"another")
        with Client(listener.address, authkey=key) as one:
            one.send(Launch(1, 2, 1, 2).hello("cpu"))
            assert [worker.name for worker in here.workers()] == [f"rank 1 on {socket.gethostname()}"]


def test_versions_are_compared_in_a_sentence():
    versions = {"vistok": "1.0", "torch": "2.9", "a device of type": "cuda"}
    here = Hello(0, "rank 0 on here", versions)
    check_same_versions(Hello(1, "rank 1 on there", dict(versions)), here)
    for what in versions:
        there = Hello(3, "rank 3 on there", versions | {what: "other"})
        sentence = (
            f"rank 3 on there has {what} other, but rank 0 on here has {versions[what]}: use the same on all machines."
        )
        with pytest.raises(ValueError, match=sentence):
            check_same_versions(there, here)


def test_the_variables_of_a_launch(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert find_launch() is None
    monkeypatch.setenv("RANK", "3")
    assert find_launch() is None
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert find_launch()[:4] == (3, 4, 3, 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert find_launch()[:4] == (3, 4, 1, 2)
    for value in ("4", "x"):
        monkeypatch.setenv("RANK", value)
        with pytest.raises(
            ValueError, match=f"The environment has RANK={value} .*: let torchrun or accelerate launch set RANK"
        ):
            find_launch()
