"""A log fits its checkpoint, or a warning names the file and the line, and nothing of it is lost."""

import json
import os

import pytest

from runs import QUANTIZERS, config, logged, new_process
from vistok.train import outputs
from vistok.train.checkpoints import checkpoint
from vistok.train.logs.log_file import LogFile, LogState, read_log
from vistok.train.loop import train

LINES = [json.dumps({"step": step, "loss": step / 2}) + "\n" for step in (2, 2, 4, 6, 8)]
WHOLE = "".join(LINES).encode()
AT_6 = LogState.of("".join(LINES[:4]).encode())


@pytest.fixture
def log(tmp_path):
    return tmp_path / "metrics.jsonl"


def restore(path, step=6, state=AT_6, later=100):
    return LogFile(path).restore(step, state, later)


@pytest.mark.parametrize("tail", ["", '{"step": 10, "lo', "\0" * 9])
def test_steps_that_come_again_and_a_half_line_go_without_a_word(log, tail):
    log.write_bytes(WHOLE + tail.encode())
    assert restore(log) == []
    assert log.read_text() == "".join(LINES[:4]) and len(list(log.parent.iterdir())) == 1


@pytest.mark.parametrize(
    ("content", "said", "left"),
    [
        ("".join(LINES[:2]), "it has 2 lines up to there, not 4", LINES[:2]),
        ("".join(LINES[:2]) + LINES[3][:-4], "it has 2 lines up to there, not 4", LINES[:2]),
        ("".join([*LINES[:2], *LINES[3:]]), "it has 3 lines up to there, not 4", [*LINES[:2], LINES[3]]),
        (WHOLE.decode().replace("1.0", "9.0", 1), "some of its lines have changed", None),
        ("".join([LINES[0], "garbage\n", *LINES[2:]]), "line 2 is not JSON", [LINES[0], *LINES[2:4]]),
        ("".join([LINES[0], "[1]\n", *LINES[1:]]), "line 2 is not a line of a log: it has no step", LINES[:4]),
        ("".join(['{"a": 1}\n', *LINES]), "line 1 is not a line of a log: it has no step", LINES[:4]),
        ("".join(['{"step": 1, "a": "b"}\n', *LINES]), "line 1 has a value that is not a number", LINES[:4]),
        ("".join(['{"step": 1, "alarms": 3}\n', *LINES]), "line 1 has alarms that are not sentences", LINES[:4]),
        ("".join([*LINES[:3], LINES[0], LINES[3]]), "line 4 goes back from step 4 to 2", LINES[:4]),
        (
            "x\n" * 5 + "".join(LINES),
            "line 1 is not JSON, line 2 is not JSON, line 3 is not JSON and 2 more",
            LINES[:4],
        ),
        ("\n".join(LINES), "line 2 is not JSON", LINES[:4]),
    ],
)
def test_what_does_not_fit_is_named_and_the_original_is_kept(log, content, said, left):
    log.write_text(content)
    (warning,) = restore(log)
    assert f"{log} is not as it was at step 6: {said}" in warning
    assert warning.endswith("; a copy is kept as metrics.jsonl.kept-1, and the run continues.")
    assert (log.parent / "metrics.jsonl.kept-1").read_text() == content
    if left is not None:
        assert log.read_text() == "".join(left)
    file = LogFile(log)
    held = LogState.of(log.read_bytes())
    assert file.restore(6, held, 100) == []


def test_a_missing_log_is_a_warning(log):
    (warning,) = restore(log)
    assert warning == f"{log} is not as it was at step 6: it has 0 lines up to there, not 4; the run continues."


def test_lines_that_are_damaged_after_the_checkpoint_are_named_too(log):
    log.write_bytes(WHOLE + b"garbage\n" + LINES[4].encode())
    (warning,) = restore(log)
    assert "has damaged lines: line 6 is not JSON" in warning
    assert log.read_text() == "".join(LINES[:4])
    assert "garbage" in (log.parent / "metrics.jsonl.kept-1").read_text()


def test_a_second_original_does_not_write_over_the_first(log):
    for number, content in enumerate(("a\n", "b\n"), 1):
        log.write_text(content)
        restore(log)
        assert (log.parent / f"metrics.jsonl.kept-{number}").read_text() == content


def test_a_run_that_begins_keeps_the_log_of_one_whose_checkpoints_are_gone(log):
    log.write_bytes(WHOLE)
    (warning,) = LogFile(log).restore(0, LogState(), later=4)
    assert (
        "goes on to step 8, but there is no checkpoint of that part; a copy is kept as metrics.jsonl.kept-1" in warning
    )
    assert log.read_bytes() == b""


def test_what_is_appended_is_what_is_held(log):
    log.write_bytes(WHOLE)
    file = LogFile(log)
    file.restore(6, AT_6, 100)
    file.append({"step": 8, "loss": 4.0})
    assert file.flush() == LogState.of(log.read_bytes()) and log.read_bytes() == WHOLE


def test_a_report_leaves_damaged_lines_out_and_names_them(log):
    log.write_text(LINES[0] + "garbage\n" + LINES[2])
    lines, (problem,) = read_log(log)
    assert [line["step"] for line in lines] == [2, 4]
    assert problem == f"{log} has damaged lines, which are left out: line 2 is not JSON."


def test_the_logs_are_on_the_disk_before_the_checkpoint_is_sealed(tmp_path, monkeypatch):
    """What a crash of the machine would leave: files count from their fsync on."""
    flushed, fsync = [], os.fsync

    def note(descriptor):
        flushed.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    train(config(tmp_path, *QUANTIZERS["fsq"], steps=2))
    seal = flushed.index(checkpoint.SEAL_FILE)
    assert flushed.index("metrics.jsonl") < seal and flushed.index("timing.jsonl") < seal


def test_a_run_names_the_damage_and_reports_the_good_lines(tmp_path, capsys):
    train(config(tmp_path, *QUANTIZERS["fsq"], steps=4))
    path = tmp_path / "metrics.jsonl"
    first, second = path.read_text().splitlines(keepends=True)
    path.write_text(first[:9] + "\n" + second)
    (tmp_path / "timing.jsonl").unlink()
    new_process()
    capsys.readouterr()
    train(config(tmp_path, *QUANTIZERS["fsq"], steps=6))
    said = capsys.readouterr().out
    assert f"{path} is not as it was at step 4: line 1 is not JSON; a copy is kept as metrics.jsonl.kept-1" in said
    assert f"{tmp_path / 'timing.jsonl'} is not as it was at step 4: it has 0 lines" in said
    assert [line["step"] for line in logged(tmp_path)] == [4, 6]
    assert (tmp_path / "metrics.jsonl.kept-1").read_text() == first[:9] + "\n" + second


def test_damage_while_a_run_works_is_a_note_of_its_report(tmp_path, monkeypatch):
    export = outputs.export_tokenizer

    def damage(*arguments):
        with open(tmp_path / "metrics.jsonl", "a") as file:
            file.write("garbage\n")
        export(*arguments)

    monkeypatch.setattr(outputs, "export_tokenizer", damage)
    train(config(tmp_path, *QUANTIZERS["fsq"], steps=2))
    assert "has damaged lines, which are left out: line 2 is not JSON" in (tmp_path / "report.html").read_text()
