import json

import pytest
from accelerate import Accelerator

from vistok.train.logs.log_file import LogState, read_log
from vistok.train.logs.run_log import RunLog, Verbosity


@pytest.fixture
def log(tmp_path):
    return RunLog(Accelerator(cpu=True), tmp_path, start_step=0, steps=10)


def test_times_are_in_a_file_of_their_own(log, tmp_path, capsys):
    log.write(5, {"loss/total": 0.5, "time/images_per_second": 7.0}, ["the codebook collapses"])
    assert read_log(tmp_path / "metrics.jsonl").lines == [
        {"step": 5, "loss/total": 0.5, "alarms": ["the codebook collapses"]}
    ]
    assert read_log(tmp_path / "timing.jsonl").lines == [{"step": 5, "time/images_per_second": 7.0}]
    said = capsys.readouterr().out
    assert "loss 0.5" in said and "7.0" in said and "warning: the codebook collapses" in said


def test_lines_of_steps_that_will_come_again_and_half_lines_are_dropped(tmp_path, capsys):
    lines = [json.dumps({"step": step}) + "\n" for step in (1, 2, 3)]
    for name in ("metrics.jsonl", "timing.jsonl"):
        (tmp_path / name).write_text("".join(lines) + '{"step": 4, "loss')
    held = LogState.of("".join(lines[:2]).encode())
    RunLog(Accelerator(cpu=True), tmp_path, start_step=2, steps=10).restore(
        {"metrics.jsonl": held, "timing.jsonl": held}, later=10
    )
    assert capsys.readouterr().out == "" and len(list(tmp_path.iterdir())) == 2
    assert [line["step"] for line in read_log(tmp_path / "metrics.jsonl").lines] == [1, 2]
    assert [line["step"] for line in read_log(tmp_path / "timing.jsonl").lines] == [1, 2]


def test_a_line_of_the_console_fits_into_80_columns(tmp_path, capsys):
    values = {
        "loss/total": -14.42211,
        "discriminator/loss": 0.69312,
        "codebook/usage": 1.0,
        "codebook/perplexity": 61234.5,
    }
    values |= {"optimizer/lr": 1.5e-3, "time/images_per_second": 154.25}
    RunLog(Accelerator(cpu=True), tmp_path, start_step=0, steps=50_000).write(25_000, values)
    (line,) = capsys.readouterr().out.splitlines()
    assert "usage 100%" in line and "ppl 61,234" in line and "lr 1.5e-3" in line and "154.2 img/s" in line
    assert len(line) <= 80


def test_no_log_has_no_lines(tmp_path):
    assert read_log(tmp_path / "none.jsonl") == ([], [])


def test_a_resumed_run_prints_its_step(tmp_path, capsys):
    for start, said in (
        (0, ""),
        (2, "2 of 10 steps were done before: resuming from there\n"),
        (10, "10 of 10 steps were done before: set more steps to continue\n"),
    ):
        RunLog(Accelerator(cpu=True), tmp_path, start_step=start, steps=10).print_start()
        assert capsys.readouterr().out == said
    RunLog(Accelerator(cpu=True), tmp_path, start_step=2, steps=10, verbosity=Verbosity(quiet=True)).print_start()
    assert capsys.readouterr().out == ""


PATTERNS = [
    r"(encoder|decoder)\.(levels|middle)\..*\.(conv\d?|shortcut|query|key|value|out)\.weight",
    r"(encoder|decoder|quantizer_in|quantizer_out)\.(.*\.)?bias",
    "norms and biases of the networks",
]


def test_patterns_of_parameters_break_at_their_parts(tmp_path, capsys):
    rows = [(pattern, "AdamW", 1, 10**7) for pattern in PATTERNS]
    RunLog(Accelerator(cpu=True), tmp_path, start_step=0, steps=10).print_routing(rows)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    cells = [line.split("│")[1].strip() for line in shown.splitlines() if line.startswith("│")]
    assert "".join(cells) == "".join(pattern for pattern, *_ in rows)
    assert not any(cell.startswith(("|", ".")) or cell.endswith("\\") for cell in cells)
