"""What is installed is everything that is needed."""

import subprocess
import sys
import zipfile
from pathlib import Path

import vistok

ROOT = Path(__file__).parents[1]


def test_a_wheel_holds_every_package_and_data_file(tmp_path):
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    outside = ("tests/", "scripts/", "docs/", "examples/", ".")
    wanted = {
        f"vistok/{name}"
        for name in tracked
        if not name.startswith(outside)
        and (name.endswith((".py", ".css", ".js", "py.typed")) or name.startswith(("configs/", "pretrained/")))
    }
    assert "vistok/pretrained/photo-f8/model.safetensors" in wanted and "vistok/configs/debug.yaml" in wanted
    copy = tmp_path / "source"
    for name in tracked:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", tmp_path, copy]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    wheel = next(tmp_path.glob("*.whl"))
    assert wheel.name.split("-")[1] == vistok.__version__
    held = set(zipfile.ZipFile(wheel).namelist())
    assert wanted <= held
    assert not any(name.startswith(("vistok/tests", "vistok/scripts")) for name in held)


def test_the_default_model_is_small_enough_to_ship():
    folder = ROOT / "pretrained" / "photo-f8"
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 20e6
