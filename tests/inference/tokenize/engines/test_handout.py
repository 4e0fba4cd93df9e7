"""Each shard is handed out once; those of a lost worker again, each alone, up to three times."""

import random
import re
import signal

import pytest

from vistok.images.opening.memory_budget import MemoryBudget
from vistok.inference.inputs.samples import ShardTask
from vistok.inference.tokenize.devices import device_of_rank, parse_cluster_devices, parse_devices
from vistok.inference.tokenize.engines import exit_reasons
from vistok.inference.tokenize.engines.exit_reasons import KillWatch
from vistok.inference.tokenize.engines.handout import MAX_TRIES, Handout
from vistok.inference.tokenize.engines.remote_job import places_for
from vistok.tokenizer.system import usable_cores


def tasks(count):
    return [ShardTask(f"s{index}", None, "") for index in range(count)]


def test_every_shard_is_done_once_or_named_whatever_is_lost():
    for seed in range(200):
        generator = random.Random(seed)
        poison = {f"s{index}" for index in range(12) if generator.random() < 0.2}
        handout, held, done, lost = Handout(tasks(12)), {}, [], []
        workers = iter(range(10_000))
        busy = [next(workers) for _ in range(3)]
        while not handout.is_over:
            worker = generator.choice(busy)
            mine = held.setdefault(worker, [])
            if (len(mine) < 3 and generator.random() < 0.6) or not mine:
                if task := handout.take(worker):
                    mine.append(task.name)
            elif mine[0] in poison:
                lost += [result.lost for result in handout.lose(worker, "was killed")]
                busy[busy.index(worker)] = next(workers)
            else:
                done.append(mine.pop(0))
                handout.finish(worker, done[-1])
        named = {sentence.partition(":")[0] for sentence in lost}
        assert sorted([*done, *named]) == sorted(f"s{index}" for index in range(12))
        assert named == poison and len(lost) == len(poison)  # its neighbours pay nothing
        assert all(sentence.endswith("3 workers ended over it, the last one was killed") for sentence in lost)


def test_a_suspect_is_made_alone():
    handout = Handout(tasks(4))
    first, second = handout.take("a"), handout.take("a")
    assert handout.lose("a", "x") == [] and handout.take("b") is first and handout.take("b") is None
    assert handout.take("c") is second and handout.take("d").name == "s2"
    assert handout.take("d").name == "s3"  # it goes on with fresh ones
    handout.finish("b", "s0")
    assert handout.take("b") is None and not handout.is_over
    for attempt in range(MAX_TRIES - 1):
        (worker,) = (name for name in ("c", "e") if "s1" in handout._held.get(name, {}))
        assert [result.name for result in handout.lose(worker, "x")] == (["s1"] if attempt else [])
        handout.take("e")
    for name in ("s2", "s3"):
        handout.finish("d", name)
    assert handout.is_over


def test_readers_and_cores_are_shared_fairly():
    for number in (1, 2, 3, 7):
        places = places_for(("cpu",) * number, 5)
        readers = [place.readers for place in places]
        assert sum(readers) == max(5, number) and max(readers) - min(readers) <= 1
        assert {place.encoders for place in places} == {max(1, usable_cores() // number)}
        assert {place.processes for place in places} == {number}
    assert {place.encoders for place in places_for(("cuda:0", "cuda:1"), 4)} == {2}
    budget = MemoryBudget(90)
    budget.take_part(3)
    with budget.hold(1000):
        assert budget.total == 30 and budget._free == 0


def test_devices(monkeypatch):
    assert parse_devices("cpu, cpu") == ("cpu", "cpu") and parse_devices("all")[0].split(":")[0] in ("cpu", "cuda")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert parse_devices("all") == ("cuda:0", "cuda:1")
    assert [device_of_rank("auto", rank) for rank in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert device_of_rank("cpu", 5) == "cpu"
    with monkeypatch.context() as patch:
        patch.setattr("vistok.inference.tokenize.devices.find_device", lambda name: __import__("torch").device(name))
        with pytest.raises(
            ValueError, match="--devices is 'cuda,cpu', but cpu and cuda round differently: give devices of one"
        ):
            parse_devices("cuda,cpu")
        patch.setattr("vistok.inference.tokenize.devices.IS_WINDOWS", True)
        with pytest.raises(
            ValueError, match="--devices is 'cpu,cpu', but on Windows there is one process: give one device."
        ):
            parse_devices("cpu,cpu")
    assert parse_cluster_devices("all") == parse_cluster_devices("auto") == ()
    assert parse_cluster_devices("cuda, cuda") == ("cuda", "cuda")
    with pytest.raises(
        ValueError, match="--devices is 'cpu,cuda', but for --engine ray must be all, or cpu or cuda several"
    ):
        parse_cluster_devices("cpu,cuda")


@pytest.mark.parametrize("text", ["", " ", "cpu,,cpu", "cpu,cpu,", ",cpu", "all,cpu", "cpu,auto"])
def test_a_list_of_devices_has_no_empty_name(text):
    sentence = (
        f"--devices is {text!r}, but must be auto, all, or devices such as cpu or cuda:0,cuda:1, none of them empty."
    )
    for parse in (parse_devices, parse_cluster_devices, lambda text: device_of_rank(text, 0)):
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            parse(text)


def test_the_exit_of_a_worker_is_explained(monkeypatch):
    kills = iter([3, 3, 4, None])
    monkeypatch.setattr(exit_reasons, "memory_kills", lambda: next(kills))
    watch = KillWatch()
    assert watch.reason(2) == "ended with exit code 2" and watch.reason(None) == "does not end"
    assert watch.reason(-signal.SIGSEGV) == "was killed by SIGSEGV" and watch.reason(-200) == "was killed by 200"
    assert watch.reason(-9) == "was killed by SIGKILL"
    remedy = r"\(take fewer --devices, fewer --workers or a smaller --batch-size\)"
    with pytest.raises(AssertionError, match=f"was killed by the system because the memory was full {remedy}"):
        raise AssertionError(watch.reason(-9))
    with pytest.raises(
        AssertionError, match=f"was killed by SIGKILL, as the system does when the memory is full {remedy}"
    ):
        raise AssertionError(watch.reason(-9))
