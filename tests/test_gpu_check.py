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
{"section": "encode", "name": "llamagen exact from host", "value": 300.0, "unit": "images/s", "tflops": 41.4, "exact": true}
{"section": "encode", "name": "photo-f8 fast from host", "value": 19000.0, "unit": "images/s", "tflops": 30.0, "batch": 128}
{"section": "encode", "name": "broken", "error": "RuntimeError: no"}
{"section": "search", "name": "a", "latents": 4096, "dim": 8, "codes": 1024, "value": 1e-4,
"ratios": {"training time": 1.2, "inference time": 0.9, "search to product": 2.0}}
{"section": "search", "name": "b", "latents": 4096, "dim": 8, "codes": 1024, "value": 0.0001, "ratios": {"training time": 1.2}}
"""
    )
    done = subprocess.run([sys.executable, SCRIPTS / "gpu_table.py", path], capture_output=True, text=True, check=True)
    assert "Measured on NVIDIA H200, torch 2.11." in done.stdout
    assert (
        "| llamagen exact from host | 300 images/s | 41.4 | 83% |  | 80% of the float32 product: met |" in done.stdout
    )
    assert "| photo-f8 fast from host | 19,000 images/s | 30 |  | batch 128 | 20000: not met |" in done.stdout
    assert "RuntimeError: no" in done.stdout and "| 4,096 | 8 | 1,024 | 0.1 | 1.2 |  |  | 1 times: met |" in done.stdout
