"""What the page is made of, in bounded memory: failures, sizes, a sample of rows, throughput."""

import json
import os
import time
from datetime import datetime, timezone
from types import SimpleNamespace

import fsspec
import numpy as np
import pytest

from vistok.inference.collection_report import contents, rates, survey
from vistok.inference.collection_report.contents import Failures
from vistok.inference.collection_report.rates import Point, RateLog, points_of_shards, rate_chart
from vistok.inference.collection_report.survey import Survey
from vistok.inference.inputs.samples import Failure
from vistok.inference.token_shards.remote_store import RemoteStore
from vistok.inference.token_shards.store import open_store
from vistok.inference.token_shards.token_samples import StoredSample

MANIFEST = SimpleNamespace(num_codebooks=2, vocab_size=50, views=SimpleNamespace(names=()))


def stored(index, width=40, height=30, tokens=None):
    tokens = np.full((2, 2, 3), index % 50, np.uint8) if tokens is None else tokens
    metadata = {"source": f"{index}.png", "width": width, "height": height}
    return StoredSample(f"k{index}", lambda: tokens, lambda: metadata)


def surveyed(samples, manifest=MANIFEST, size=survey.SAMPLE_SIZE):
    found = Survey(manifest, size)
    for sample in samples:
        found.add("a.tar", sample)
    found.flush()
    return found


def test_failures_that_differ_in_numbers_are_one_reason():
    failures = Failures()
    failures.add("a", [Failure("1", "1.png", "cut after 17 bytes"), Failure("2", "2.png", "cut after 3,200 bytes")])
    failures.add("b", [Failure(str(index), f"{index}.png", "no image of 5 formats") for index in range(5)])
    told = [(reason.text, reason.number, reason.examples) for reason in failures.reasons()]
    assert told == [
        ("no image of 5 formats", 5, ["0.png (b)", "1.png (b)", "2.png (b)"]),
        ("cut after N bytes", 2, ["1.png (a)", "2.png (a)"]),
    ]


def test_reasons_are_bounded_and_none_is_lost(monkeypatch):
    monkeypatch.setattr(contents, "MAX_REASONS", 3)
    failures = Failures()
    failures.add("a", [Failure("", f"{letter}.png", f"reason {letter}") for letter in "abcdeedc"])
    assert {reason.text: reason.number for reason in failures.reasons()} == {
        "reason a": 1,
        "reason b": 1,
        "reason c": 2,
        "other reasons": 4,
    }
    assert failures.number == 8


def test_tokens_are_counted_however_they_are_grouped(monkeypatch):
    generator = np.random.default_rng(0)
    samples = [
        stored(index, tokens=generator.integers(0, 50, (2, 1 + index % 3, 4)).astype(np.uint8)) for index in range(30)
    ]
    whole = surveyed(samples)
    expected = [
        np.bincount(np.concatenate([sample.read_tokens()[level].reshape(-1) for sample in samples]), minlength=50)
        for level in range(2)
    ]
    assert whole.counts.tolist() == [level.tolist() for level in expected]
    monkeypatch.setattr(survey, "FLUSH_AT", 5)
    assert surveyed(samples).counts.tolist() == whole.counts.tolist()
    assert whole.grids == {(2, 1, 4): 10, (2, 2, 4): 10, (2, 3, 4): 10}


def test_the_sample_does_not_depend_on_the_order_and_is_about_uniform():
    samples = [stored(index) for index in range(400)]
    keys = [row.key for row in surveyed(samples, size=100).sample.rows()]
    assert len(keys) == 100 == len(set(keys))
    assert [row.key for row in surveyed(samples[::-1], size=100).sample.rows()] == keys
    assert [row.key for row in surveyed(samples, size=10).sample.rows()] == keys[:10]
    assert 150 < np.mean([int(key[1:]) for key in keys]) < 250


def test_kinds_are_bounded_and_none_is_lost(monkeypatch):
    monkeypatch.setattr(survey, "MAX_KINDS", 4)
    samples = [stored(index, 40 + index, tokens=np.zeros((2, 1, 1 + index), np.uint8)) for index in range(9)]
    found = surveyed([*samples, stored(0)])
    assert (len(found.sizes), sum(found.sizes.values()), found.untold, found.sizes[40, 30]) == (4, 5, 5, 2)
    assert len(found.grids) == 5 and sum(found.grids.values()) == 10 and found.images == 10


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [
        (np.full((2, 1, 1), 50, np.uint8), "a token is 50, but the codes are 0 to 49"),
        (np.zeros((3, 1, 1), np.uint8), "it has 3 codebooks, but the tokenizer has 2"),
        (np.zeros((2, 1, 1), np.float32), "its tokens are float32 (2, 1, 1), but must be unsigned integers q y x"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tokens, reason):
    found = surveyed([stored(7, tokens=tokens), stored(8)])
    assert (found.rows, found.damaged_rows, found.problems) == (1, 1, [f"a.tar: k7: {reason}"])


def test_a_million_points_stay_few_and_keep_their_ends():
    at = iter(np.arange(200_000) / 100)
    log = RateLog(lambda: float(next(at)))
    for index in range(200_000):
        log.add(3 * index)
    points = log.points()
    assert 100 < len(points) <= rates.MAX_POINTS + 1
    assert points[0] == (0, 0) and points[-1] == (1999.99, 3 * 199_999)


def test_the_curve_holds_every_image():
    generator = np.random.default_rng(0)
    seconds, images = np.cumsum(generator.random(500)), np.cumsum(generator.integers(0, 30, 500))
    chart = rate_chart("r", [Point(*point) for point in zip(seconds.tolist(), images.tolist(), strict=True)])
    ((_, middles, values),) = chart.curves
    assert chart.unit == "second" and len(values) == rates.BINS
    assert np.mean(values) * (seconds[-1] - seconds[0]) == pytest.approx(images[-1] - images[0])
    assert 0 < middles[0] < middles[-1] < seconds[-1] - seconds[0]
    slow = rate_chart("r", [Point(100.0 * each, each) for each in range(100)])
    assert slow.unit == "minute" and slow.curves[0].values == pytest.approx([0.01] * 60)
    assert (
        rate_chart("r", [Point(0.0, 0)])
        is rate_chart("r", [Point(1.0, 0), Point(5.9, 5)])
        is rate_chart("r", [])
        is None
    )


def test_pauses_between_calls_are_cut_out():
    times = [(10.0 * index, 100) for index in range(10)] + [(90_000 + 10.0 * index, 100) for index in range(10)]
    points, pauses = points_of_shards(times[::-1])
    assert pauses == 1 and points[-1] == (190, 1900)
    chart = rate_chart("r", points, pauses)
    assert chart.title == "r, 1 pause left out" and chart.curves[0].values == pytest.approx([10.0] * 19)
    assert points_of_shards([]) == ([], 0)
    assert json.dumps(chart.curves[0].values)


def test_sides_that_no_image_has_are_drawn_at_the_end():
    found = surveyed([stored(0, width=10**400, height=1)])
    assert found.pixels == {31 * survey.PER_OCTAVE: 1} == found.aspects


def test_stores_tell_when_files_were_written(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"a")
    os.utime(tmp_path / "a.tar", (5, 1_700_000_000.5))
    assert open_store(str(tmp_path)).times() == {"a.tar": 1_700_000_000.5}
    assert open_store(str(tmp_path / "nowhere")).times() == {}
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/times/a.tar", b"a")
    try:
        assert abs(open_store("memory://times").times()["a.tar"] - time.time()) < 60
    finally:
        memory.rm("/times", recursive=True)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ({"mtime": 12.5}, 12.5),
        ({"LastModified": datetime(1970, 1, 2, tzinfo=timezone.utc)}, 86400.0),
        ({"updated": "1970-01-01T00:01:00Z"}, 60.0),
        ({"created": "yesterday"}, None),
        ({"created": b"?"}, None),
        ({}, None),
    ],
)
def test_times_of_listings_are_read_by_what_they_are(told, seconds, monkeypatch):
    monkeypatch.setattr(RemoteStore, "_listing", lambda _: {"a.tar": told})
    assert RemoteStore("memory://x").times() == ({} if seconds is None else {"a.tar": seconds})
