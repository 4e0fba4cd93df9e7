"""The summary names the stage that a run waited for: each is made slow once."""

import json
import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from samples import image_bytes, noise_image
from vistok.inference.inputs import readers
from vistok.inference.inputs.views import ONE_ROW
from vistok.inference.token_shards.formats import SHARD_FORMATS
from vistok.inference.tokenize import limits
from vistok.inference.tokenize.engines import stream
from vistok.inference.tokenize.job import CodeCounts, ShardResult
from vistok.inference.tokenize.limits import StageClock, Waits
from vistok.inference.tokenize.results import Totals
from vistok.inference.tokenize.summary import Summary


def slowed(function, seconds):
    def slow(*arguments, **options):
        time.sleep(seconds)
        return function(*arguments, **options)

    return slow


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(12):
        (folder / f"{index:02}.png").write_bytes(image_bytes(noise_image(64, 64, index), "PNG"))
    return folder


@pytest.mark.parametrize("stage", ["reading", "encoding", "writing"])
def test_the_slow_stage_is_the_limit(tokenize, photos, tmp_path, monkeypatch, stage):
    if stage == "reading":
        monkeypatch.setattr(readers, "read_image", slowed(readers.read_image, 0.15))
    elif stage == "encoding":
        monkeypatch.setattr(stream, "encode_rows", slowed(stream.encode_rows, 0.3))
    else:
        wds = SHARD_FORMATS["wds"]
        monkeypatch.setattr(type(wds), "write", slowed(type(wds).write, 0.3))
    call = (photos, "--batch-size", 2, "--shard-size", 2, "--workers", 1)
    said = tokenize(*call, "--out", tmp_path / "text", "--quiet")
    (line,) = [line for line in said.splitlines() if line.startswith("limit")]
    assert line.startswith(f"limit       {stage}, by what the run waited for: reading ") and "%, writing " in line
    said = tokenize(*call, "--out", tmp_path / "json", "--quiet", "--json")
    told = json.loads(next(line for line in said.splitlines() if line.startswith("{")))["limit"]
    assert told["stage"] == stage and told["waited"][stage] > 0.5
    assert list(told["waited"]) == ["reading", "encoding", "writing"] and 0.5 < sum(told["waited"].values()) <= 1
    again = tokenize(*call, "--out", tmp_path / "text", "--quiet")
    assert "limit" not in again


def test_the_time_of_an_inner_stage_is_not_that_of_the_outer(monkeypatch):
    seconds = [0.0]
    monkeypatch.setattr(limits, "time", SimpleNamespace(perf_counter=lambda: seconds[0]))

    def work(each, items):
        for item in items:
            seconds[0] += each
            yield item

    clock = StageClock()
    inner = clock.timed("reading", work(2, range(5)))
    outer = clock.timed("writing", work(1, inner))
    assert list(outer) == list(range(5))
    seconds[0] += 7
    waits = clock.lap()
    assert waits == Waits(reading=10, encoding=0, writing=5, seconds=22) and waits.limit == "reading"
    assert clock.lap() == Waits()


@pytest.mark.parametrize(("processes", "who"), [(1, "the run"), (3, "all processes")])
def test_the_limit_of_several_processes_is_a_fraction_of_all_their_time(processes, who):
    totals = Totals(1, 300, processes)
    for index in range(processes):
        waits = Waits(reading=6, encoding=2, writing=1, seconds=10)
        totals.add(ShardResult(f"s{index}", 1, 1, 1, usage=(CodeCounts(np.array([0]), np.array([1])),), waits=waits))
    totals.seconds = 10.5
    plan = SimpleNamespace(repeated=0, passed_over=Counter())
    lines = Summary(totals, plan, SimpleNamespace(views=ONE_ROW), None, 0, 0)._what_was_done()
    sentence = f"limit       reading, by what {who} waited for: reading 60%, encoding 20%, writing 10%"
    assert [line for line in lines if line.startswith("limit")] == [sentence]


def test_waits_add_up_and_nothing_is_measured_as_nothing():
    total = Waits(1, 2, 3, 8) + Waits(0, 1, 0, 2)
    assert total == Waits(1, 3, 3, 10) and total.fractions == {"reading": 0.1, "encoding": 0.3, "writing": 0.3}
    assert Waits().fractions == dict.fromkeys(("reading", "encoding", "writing"), 0.0)
