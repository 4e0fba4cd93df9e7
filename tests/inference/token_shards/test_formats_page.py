"""The programs of other packages on the page about formats run, where these packages are installed."""

import re

import pytest

from commands import ROOT
from samples import image_bytes, noise_image

PAGE = (ROOT / "docs" / "formats.md").read_text()
PROGRAMS = re.findall(r"```py\n# (\w+)\n(.*?)```", PAGE, re.DOTALL)


def needs(program):
    return set(re.findall(r"^(?:import|from) ([\w.]+)", program, re.MULTILINE))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "program"), PROGRAMS)
def test_a_program_of_the_page_runs(name, program, tokenize, make_tar, tmp_path, monkeypatch):
    for package in needs(program) | ({"pyarrow"} if name == "parquet" else set()):
        pytest.importorskip(package, exc_type=ImportError)
    (tmp_path / "photos").mkdir()
    for index in range(3):
        (tmp_path / "photos" / f"{index}.png").write_bytes(image_bytes(noise_image(32, 32, index), "PNG"))
    (tmp_path / "photos" / "1.txt").write_text("a cat")
    form = {"energon": "wds"}.get(name, name)
    broken = make_tar(tmp_path / "broken.tar", [("a.png", b"broken")])
    inputs = [tmp_path / "photos", *([broken] if "names" in program else [])]
    tokenize(*inputs, "--out", tmp_path / "tokens", "--size", 32, "--format", form)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    found = {}
    exec(compile(program, f"formats.md ({name})", "exec"), found)
    if "tokens" in found:
        assert found["tokens"].shape[-2:] == (4, 4) or found["tokens"].shape == (4, 4, 1)
    if "names" in found:
        assert found["names"] == ["tokens/images-00000"] and len(found["sidecars"]) == 2
    if "files" in found:
        assert found["files"] == {}  # of the last image
    if "captions" in found:
        assert found["captions"] == [("0", 16, None), ("1", 16, "a cat"), ("2", 16, None)]
    if "rows" in found and hasattr(found["rows"], "columns"):
        assert list(found["rows"].key) == ["0", "1", "2"]


def test_the_page_names_the_columns_and_members():
    pytest.importorskip("pyarrow")
    from vistok.inference.token_shards.parquet_rows import schema

    assert all(f"`{name}`" in PAGE for name in schema("uint16").names)
