"""Progress on a terminal, without one, and not at all."""

import re
import threading
import time

import pytest

from processes import outcome_of, run_on_terminal, start_python
from vistok.cli import progress
from vistok.cli.progress import ProgressLine, track


class Clock:
    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr("vistok.cli.progress.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_rate_and_time_left_come_after_the_first_measured_seconds(clock):
    line = ProgressLine(total=1000)
    assert line.text(79) == "0/1,000 images"
    line.update(0)
    clock.now += 1
    line.update(50)
    assert line.text(79) == "50/1,000 images"
    clock.now += 3
    line.update(200)
    assert line.text(79) == "200/1,000 images  0:16 left  50.0 per second"
    line.update(200, note="3 failed")
    assert line.text(79) == "200/1,000 images  0:16 left  50.0 per second  3 failed"
    line.update(200, total=10**6)
    assert line.text(79) == "200/1,000,000 images  5:33:16 left  50.0 per second"


def test_what_was_done_before_does_not_make_the_rate_better(clock):
    line = ProgressLine("steps", 2000)
    line.update(1000)
    clock.now += 10
    line.update(1010)
    assert line.text(79) == "1,010/2,000 steps  16:30 left  1.0 per second"


def test_without_a_total_there_is_no_time_left(clock):
    line = ProgressLine("latents")
    line.update(0)
    clock.now += 100
    line.update(3)
    assert line.text(79) == "3 latents  0.03 per second"


def test_what_does_not_fit_is_left_out_whole(clock):
    line = ProgressLine(total=200_000)
    line.update(0)
    clock.now += 60
    line.update(7500, note="3 failed")
    parts = ["7,500/200,000 images", "25:40 left", "125 per second", "3 failed"]
    for width in range(1, 90):
        text = line.text(width)
        assert len(text) <= width and (text == "" or all(part in parts for part in text.split("  ")))
    assert line.text(40).split("  ") == parts[:2]


CODE = """
import time
from vistok.cli import progress
progress.HIDDEN_FOR, progress.REDRAWN_EVERY, progress.MEASURED_FOR = 0.1, 0.05, 0.1
for item in progress.track(range(30), "images"):
    time.sleep(0.02)
print("done")
"""


@pytest.mark.parametrize("columns", [80, 40, 20])
def test_on_a_terminal_a_bar_is_drawn_over_itself_and_goes_away(columns):
    *lines, last = run_on_terminal(CODE, columns)
    assert last == "done" and len(lines) > 3
    assert all(len(line) < columns for line in lines)
    assert all(
        re.fullmatch(r"([━─]{8,30}  )?\d+/30 images(  0:0\d left)?(  [\d.]+ per second)?", line) for line in lines
    )
    if columns == 80:
        assert "━" in lines[-1] and "left" in lines[-1] and "per second" in lines[-1]


def test_nothing_is_drawn_for_short_work_or_when_quiet():
    assert run_on_terminal(CODE.replace("0.1, 0.05, 0.1", "60, 0.05, 0.1"), 80) == ["done"]
    assert run_on_terminal(CODE.replace('"images")', '"images", quiet=True)'), 80) == ["done"]


def test_without_a_terminal_there_is_a_line_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_EVERY", 0.05)
    monkeypatch.setattr(progress, "MEASURED_FOR", 0.1)
    began = time.monotonic()
    list(track((time.sleep(0.02) for _ in range(20)), "images", total=20))
    elapsed = time.monotonic() - began
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and 3 <= len(lines) <= elapsed / 0.05 and "\r" not in err and "\x1b" not in err
    assert re.fullmatch(r"\d+/20 images  0:00 left  \d+\.\d per second", lines[-1])


def test_short_work_without_a_terminal_is_silent(capsys):
    assert list(track([1, 2, 3], "images")) == [1, 2, 3]
    assert list(track(iter([1, 2, 3]), "images", quiet=True)) == [1, 2, 3]
    assert capsys.readouterr() == ("", "")


def test_it_is_told_from_many_threads_and_ends_with_its_body(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_EVERY", 0.01)
    before = set(threading.enumerate())
    with pytest.raises(RuntimeError, match="stop"), ProgressLine(total=800) as line:
        threads = [
            threading.Thread(target=lambda n=n: [(line.update(n * 100 + k), time.sleep(0.001)) for k in range(100)])
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        raise RuntimeError("stop")
    assert not set(threading.enumerate()) - before
    lines = capsys.readouterr().err.splitlines()
    assert lines and all(re.match(r"\d+/800 images", line) for line in lines)


def test_a_reader_of_standard_error_that_has_gone_does_not_stop_the_work():
    code = "from vistok.cli import progress\nprogress.LINE_EVERY = 0.05\n" + CODE
    process = start_python(code)
    process.stderr.close()
    process.stderr = None
    assert outcome_of(process)[:2] == (0, "done\n")
