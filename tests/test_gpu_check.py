"""scripts/gpu_check.py keeps what was measured whatever becomes of a section, and its lines become tables."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture(autouse=True)
def beside_the_scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))


def test_a_section_that_takes_too_long_ends_and_its_lines_stay(tmp_path, monkeypatch):
    import gpu_check

    from gpu_sections.lines import read_lines

    out = tmp_path / "gpu.jsonl"
    slow = tmp_path / "slow.py"
    slow.write_text(
        f'import time; open({str(out)!r}, \'a\').write(\'{{"section": "encode", "name": "rate"}}\\n\')\ntime.sleep(60)'
    )
    monkeypatch.setattr(sys, "argv", [str(slow), "--out", str(out)])
    gpu_check.run_child("encode", 2.0, dict(os.environ))
    slow.write_text("raise SystemExit(3)")
    gpu_check.run_child("decode", 30.0, dict(os.environ))
    with out.open("a") as file:
        file.write('{"section": "sea')  # a line that was cut off
    rate, stopped, failed = read_lines(out)
    assert rate == {"section": "encode", "name": "rate"}
    assert stopped["status"] == "stopped at the end of its time" and stopped["seconds"] < 30
    assert (failed["section"], failed["status"]) == ("decode", "failed")


def test_sections_have_names_and_an_order():
    import gpu_check

    assert gpu_check.parse_sections("search,environment") == ["environment", "search"]
    with pytest.raises(argparse.ArgumentTypeError, match="there is no section serch: choose from environment, encode"):
        gpu_check.parse_sections("serch")
    modules = {module for _, module, _ in gpu_check.SECTIONS.values()}
    assert all((SCRIPTS / "gpu_sections" / f"{module}.py").exists() for module in modules)


def test_lines_become_tables_with_targets(tmp_path):
    path = tmp_path / "gpu.jsonl"
    path.write_text(
        """{"section": "environment", "name": "environment", "card": "NVIDIA H200", "torch": "2.11"}
{"section": "environment", "name": "float32 product", "value": 50.0, "unit": "TFLOP/s", "ceiling": true}
{"section": "encode", "name": "llamagen exact from host", "value": 300.0, "side": 256, "tflops": 41.4, "exact": true}
{"section": "encode", "name": "photo-f8 fast from host", "value": 19000.0, "side": 256, "tflops": 30.0, "batch": 128}
{"section": "encode", "name": "emu3.5 fast from host", "value": 150.0, "side": 64}
{"section": "bulk", "name": "fast: processes to the slower part, once started", "value": 0.93}
{"section": "encode", "name": "broken", "error": "RuntimeError: no"}
{"section": "search", "name": "a", "latents": 4096, "dim": 8, "codes": 1024, "value": 1e-4,
"ratios": {"training time": 1.2, "inference time": 0.9, "search to product": 2.0}}
{"section": "search", "name": "b", "latents": 4096, "dim": 8, "codes": 1024, "value": 0.0001, "ratios": {"training time": 1.2}}
{"section": "search", "name": "c", "latents": 4096, "dim": 64, "codes": 16384, "value": 0.0002,
"ratios": {"training time": 4.0, "inference time": 3.5, "search to product": 1.1}}
{"section": "search", "name": "d", "latents": 65536, "dim": 8, "codes": 262144, "value": 0.004,
"ratios": {"search to product": 0.4}}
{"section": "bulk", "name": "fast: processes to the slower part", "value": 0.91}
{"section": "training_step", "name": "training step, compiled", "images per second": 210.0, "seconds of the first step": 81.26,
"peak gigabytes": 44.9, "fractions": {"tokenizer": 0.91, "optimizer": 0.034, "monitor and average": 0.009}}
""".replace(',\n"', ', "')
    )
    done = subprocess.run([sys.executable, SCRIPTS / "gpu_table.py", path], capture_output=True, text=True, check=True)
    assert "Measured on NVIDIA H200, torch 2.11." in done.stdout
    assert "| llamagen exact from host | 300 | 41.4 | 83% | side 256 | 80% of the float32 product: met |" in done.stdout
    assert "| photo-f8 fast from host | 19,000 | 30 |  | batch 128, side 256 | 20000: not met |" in done.stdout
    assert "| emu3.5 fast from host | 150 |  |  | side 64 |  |" in done.stdout, "a target is for one size"
    assert "once started | 0.93 |  |  |  | 0.9: met |" in done.stdout
    assert "RuntimeError: no" in done.stdout
    for row in (
        "| 4,096 | 8 | 1,024 | 0.1 | 1.2 | 0.9 | 2 | 1 times: not met; at most 0.1 ms: met |",
        "| 4,096 | 8 | 1,024 | 0.1 | 1.2 |  |  | 1 times: met; at most 0.1 ms: met |",
        "| 4,096 | 64 | 16,384 | 0.2 | 4 | 3.5 | 1.1 | 3 times: met; at most 1 of the product: not met |",
        "| 65,536 | 8 | 262,144 | 4 |  |  | 0.4 | at most 0.5 of the product: met |",
        "| fast: processes to the slower part | 0.91 |  |  |  | 0.9: met |",
        "| training step, compiled | 210 images/s |  |  | peak gigabytes 44.9, seconds of the first step 81.3 | 200: met; peak "
        "gigabytes at most 45, found 44.9: met; optimizer at most 0.03, found 0.034: not met; monitor and average at most "
        "0.01, found 0.009: met |",
    ):
        assert row in done.stdout


def test_a_rate_without_the_start_of_the_readers_is_that_of_the_last_files():
    from benchmark_bulk import QUARTER, once_started

    counts = {"a": 100, QUARTER.format("a"): 25}
    assert once_started(counts, {"a": 3.0, QUARTER.format("a"): 1.5}, "a") == 50  # 1 s to start, 0.5 s a quarter
    assert once_started(counts, {"a": 1.4, QUARTER.format("a"): 1.5}, "a") is None, "noise gives no negative rate"


def test_a_program_that_takes_too_long_leaves_what_it_printed(monkeypatch):
    from gpu_sections import tests
    from gpu_sections.child import TimeUpError, run_child

    slow = [
        sys.executable,
        "-c",
        "print('tests/a.py::test_b[c] PASSED [ 1%]', flush=True); import time; time.sleep(60)",
    ]
    with pytest.raises(TimeUpError, match="PASSED"):
        run_child(slow, 3.0)
    assert tests.outcome(slow, 3.0) == {"unfinished": True, "passed": 1}
    ends = "import sys; print('tests/a.py::test_b FAILED [ 9%]\\n= 1 failed, 4 passed in 3s ='); sys.exit(1)"
    assert tests.outcome([sys.executable, "-c", ends], 30.0) == {
        "failed": 1,
        "passed": 4,
        "tests": ["tests/a.py::test_b"],
    }
    with pytest.raises(RuntimeError, match="no such option"):
        tests.outcome([sys.executable, "-c", "import sys; sys.exit('no such option')"], 30.0)


def test_each_way_to_train_is_measured_as_it_is_called(tmp_path, monkeypatch):
    """The options, after all that the script itself adds, say what the name says."""
    import benchmark_training

    from gpu_sections.training import SMALL, VARIANTS

    seen = {}
    config = Path(SCRIPTS).parent / "configs" / "photo-f16.yaml"
    photos = Path(SCRIPTS).parent / "tests" / "photos"
    for name, options in VARIANTS.items():
        monkeypatch.setattr(benchmark_training, "measure", lambda given, *_, name=name: seen.update({name: given.run}))
        call = [
            str(config),
            f"data.train={photos}",
            f"data.val={photos}",
            *SMALL,
            *options,
            "--out",
            str(tmp_path / "o"),
        ]
        monkeypatch.setattr(sys, "argv", ["benchmark_training.py", *call])
        benchmark_training.main()
    assert [run.compile for run in seen.values()] == [False, True, False, False]
    assert [run.activation_checkpointing for run in seen.values()] == [False, False, True, False]
    assert [run.memory_format for run in seen.values()] == ["auto", "auto", "auto", "channels_last"]
