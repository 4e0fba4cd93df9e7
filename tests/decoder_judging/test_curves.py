"""scripts/decoder_curves.py: what it keeps of the logs of runs, how that is thinned and rounded, and the panels."""

import itertools
import json
import math
import sys

import pytest
from PIL import Image

from decoder_runs import decoder_config, train_decoder
from runs import config, logged
from samples import PHOTOS
from vistok.train.config_file import config_text

SETTINGS = {
    "recipe": {"name": "gan", "steps": 1},
    "network": {"name": "noise_channels", "noise": 2},
    "losses": {"l1": 1.0},
    "steps": 900,
    "batch_size": 8,
    "crop": 32,
    "lr": 0.0005,
}
LINES = [
    {"step": 50, "loss/total": 1.23456789, "loss/l1": 0.000123456, "optimizer/lr": 0.1, "spread/seeds": 2.0},
    {
        "step": 100,
        "loss/total": 98765.4321,
        "loss/l1": math.nan,
        "discriminator/loss": -0.5,
        "alarms": ["it runs away"],
    },
    {"step": 100, "validation/psnr": 25.67891},
    {"step": 150, "loss/total": 1, "loss/l1": math.inf, "discriminator/loss": 0.5, "discriminator/fake": 3.0},
]


@pytest.fixture
def run_folder(tokenizer_folder, tmp_path):
    """Make the folder of a run with SETTINGS from lines of its log."""

    def made(name, lines, end=""):
        folder = tmp_path / name
        folder.mkdir()
        options = ("data.batch_size=8", "optimizer.lr=0.0005")
        written = decoder_config(folder, tokenizer_folder, "gan", *options, steps=900)
        (folder / "config.yaml").write_text(config_text(written))
        (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines) + end)
        return folder

    return made


@pytest.fixture
def call(monkeypatch):
    """Call the script, and return its exit code."""

    def called(out, *options):
        import decoder_curves

        monkeypatch.setattr(sys, "argv", ["decoder_curves.py", "--out", str(out), *map(str, options)])
        return decoder_curves.main()

    return called


def test_it_keeps_curves_rounded_and_the_settings(run_folder, call, tmp_path, capsys):
    folder = run_folder("a", LINES, end='{"step": 200, "loss/to')  # the run is still going
    out = tmp_path / "new" / "curves.json"
    assert call(out, "--runs", f"a gan={folder}") == 0
    assert json.loads(out.read_text()) == {
        "runs": {
            "a gan": {
                "config": SETTINGS,
                "step": 150,
                "images": 1200,
                "curves": {
                    "loss/total": {"steps": [50, 100, 150], "values": [1.235, 98770.0, 1.0]},
                    "loss/l1": {"steps": [50, 100, 150], "values": [0.0001235, None, None]},
                    "discriminator/loss": {"steps": [100, 150], "values": [-0.5, 0.5]},
                    "spread/seeds": {"steps": [50], "values": [2.0]},
                    "validation/psnr": {"steps": [100], "values": [25.68]},
                },
            }
        }
    }
    assert capsys.readouterr() == ("a gan: 5 curves up to step 150, 1,200 crops\n", "")


@pytest.mark.parametrize("count", [99, 100, 101, 137, 1000])
def test_a_long_curve_is_thinned_evenly(run_folder, call, tmp_path, count):
    lines = [{"step": 10 * index, "loss/l1": 1 / index} for index in range(1, count + 1)]
    assert call(tmp_path / "curves.json", "--runs", f"a={run_folder('a', lines)}") == 0
    curve = json.loads((tmp_path / "curves.json").read_text())["runs"]["a"]["curves"]["loss/l1"]
    steps = curve["steps"]
    assert len(steps) == min(count, 100) and (steps[0], steps[-1]) == (10, 10 * count)
    assert {step % 10 for step in steps} == {0}
    gaps = {(after - before) // 10 for before, after in itertools.pairwise(steps)}
    assert min(gaps) >= 1 and max(gaps) - min(gaps) <= 1
    assert [f"{value:.3e}" for value in curve["values"]] == [f"{10 / step:.3e}" for step in steps]


def test_the_same_runs_give_the_same_bytes_with_sorted_keys(run_folder, call, tmp_path):
    runs = [f"{name}={run_folder(name, LINES)}" for name in ("b", "a")]
    for name, order in (("one", runs), ("two", runs[::-1])):
        assert call(tmp_path / name, "--runs", *order) == 0
    content = (tmp_path / "one").read_text()
    assert content == (tmp_path / "two").read_text()
    assert content == json.dumps(json.loads(content), sort_keys=True) + "\n"


def test_curves_of_a_run_are_those_of_its_log(tokenizer_folder, call, tmp_path):
    flow, fgm, watched = tmp_path / "flow", tmp_path / "fgm", [f"data.val={PHOTOS}", "run.validate_every=2"]
    teacher = train_decoder(flow, tokenizer_folder, "flow", steps=2)
    train_decoder(fgm, teacher, "fgm", *watched, teacher=teacher, steps=4)
    assert call(tmp_path / "curves.json", "--runs", f"flow={flow}", f"fgm={fgm}") == 0
    runs = json.loads((tmp_path / "curves.json").read_text())["runs"]
    assert runs["fgm"]["config"]["recipe"] == {
        "name": "fgm", "steps": 1, "penalty": 0.5, "fake_steps": 2, "fake_lr": None
    }  # fmt: skip
    assert str(tmp_path) not in (tmp_path / "curves.json").read_text()
    common = {"loss/total", "spread/seeds", "spread/residual"}
    assert set(runs["flow"]["curves"]) == common | {"loss/flow"}
    expected = common | {"loss/matching", "matching/distance", "fake/loss", "validation/psnr"}
    assert set(runs["fgm"]["curves"]) == expected
    for path, curve in runs["fgm"]["curves"].items():
        lines = [line for line in logged(fgm) if path in line]
        assert curve["steps"] == [line["step"] for line in lines] == [2, 4]
        assert curve["values"] == pytest.approx([line[path] for line in lines], rel=1e-3)


def test_lines_that_are_damaged_are_named(run_folder, call, tmp_path, capsys):
    folder = run_folder("a", LINES, end="nonsense\n")
    assert call(tmp_path / "curves.json", "--runs", f"a={folder}") == 0
    said = f"warning: {folder}/metrics.jsonl has damaged lines, which are left out: line 5 is not JSON.\n"
    assert capsys.readouterr().err == said


def test_what_is_no_run_of_a_decoder_is_refused(run_folder, call, tmp_path, capsys):
    good, empty, plain = run_folder("good", LINES), run_folder("empty", []), run_folder("plain", LINES)
    (plain / "config.yaml").write_text(config_text(config(plain)))
    old, damaged = run_folder("old", LINES), run_folder("damaged", LINES)
    (old / "config.yaml").write_text("depth: 3\n")
    (damaged / "config.yaml").write_text("a: 1\na: 2\n")
    written = f"{old}/config.yaml was written by another version of vistok"
    refused = {
        "good": "'good' names no run: give LABEL=RUN_FOLDER.",
        "=good": "'=good' names no run: give LABEL=RUN_FOLDER.",
        f"a={good}": "Two runs are called 'a': give each a LABEL of its own.",
        f"b={tmp_path}": f"{tmp_path}/config.yaml does not exist: name a run folder, such as OUT/stages/flow of "
        "finetune-tokenizer.",
        f"b={plain}": f"{plain} trains no extra decoder: name a run whose config has a section decoder.",
        f"b={empty}": f"{empty}/metrics.jsonl has no line yet: name a run that has logged a step.",
        f"b={damaged}": f"{damaged}/config.yaml is not YAML (the key 'a' comes twice in its section, line 2, "
        "column 1): name another run folder.",
        f"b={old}": f"{written} (depth is not a known key: did you mean 'model.quantizer.depth'?): gather its curves with "
        "that one.",
    }
    for run, sentence in refused.items():
        assert call(tmp_path / "curves.json", "--runs", f"a={good}", run) == 2
        assert capsys.readouterr() == ("", f"error: {sentence}\n")
    assert not (tmp_path / "curves.json").exists()


def test_a_panel_for_each_kind_of_curve():
    from decoder_judging.curve_figure import described, look_of_each, panels, spans_decades

    def run(**values):
        curves = {path: {"steps": [1, 2], "values": each} for path, each in values.items()}
        return {"config": {"batch_size": 8, "crop": 64}, "step": 1200, "curves": curves}

    one = run(**{"validation/psnr": [1.0, 9.0], "spread/seeds": [0.1, None], "loss/l1": [-1.0, 40.0]})
    two = run(
        **{"loss/total": [1.0, 2.0], "spread/seeds": [2.0, 2.0], "loss/flow": [0.0, 40.0], "fake/loss": [None, None]}
    )
    runs = {"one": one, "two": two}
    assert panels(runs) == ["loss/flow", "loss/l1", "fake/loss", "spread/seeds", "validation/psnr"]
    assert [name for name in panels(runs) if spans_decades(runs, name)] == ["spread/seeds"]
    assert described("one", one) == "one: 1,200 steps of 8 crops of 64 px"
    looks = look_of_each({str(index): one for index in range(15)})
    assert len({tuple(look.values()) for look in looks.values()}) == 15


def test_a_figure_without_matplotlib_is_refused_before_anything_is_read(call, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("decoder_curves.find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        call(tmp_path / "curves.json", "--runs", "a=nowhere", "--figure", tmp_path / "curves.png")
    assert capsys.readouterr().err.endswith("error: --figure needs matplotlib: pip install matplotlib.\n")
    assert not (tmp_path / "curves.json").exists()


def test_the_figure_is_900_pixels_wide(run_folder, call, tmp_path):
    pytest.importorskip("matplotlib")
    few = [{"step": 1, "loss/total": 1.0, "loss/l1": 2.0}]
    many = [*LINES, {"step": 200, "spread/residual": 0.5, "matching/distance": 1.0, "loss/perceptual": 0.1}]
    heights = []
    for name, lines in (("few", few), ("many", many)):
        figure = tmp_path / "new" / f"{name}.png"
        assert call(tmp_path / "curves.json", "--runs", f"a={run_folder(name, lines)}", "--figure", figure) == 0
        with Image.open(figure) as drawn:
            assert drawn.width == 900
            heights.append(drawn.height)
    assert heights[0] < heights[1] < 900
