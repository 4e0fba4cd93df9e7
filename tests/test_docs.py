"""What the pages of the documentation show is true: their Python runs, and their commands are ones that exist."""

import importlib
import re
import shlex
import sys

import pytest
from accelerate.state import AcceleratorState
from typer.testing import CliRunner

from commands import APPS, ROOT, options
from processes import run_python
from samples import PHOTOS
from vistok.inference.token_shards.formats import SHARD_FORMATS
from vistok.inference.tokenize.engines.table import ENGINES
from vistok.pretrained.exporters.table import EXPORTERS
from vistok.pretrained.importers.table import IMPORTERS
from vistok.sequences.layouts import LAYOUTS
from vistok.tokenizer.decoders.table import DECODERS
from vistok.tokenizer.networks.architectures import ARCHITECTURES
from vistok.tokenizer.quantizers import QUANTIZERS
from vistok.train.config_file import find_config
from vistok.train.losses.criteria import CRITERIA

TABLES = (ARCHITECTURES, CRITERIA, DECODERS, ENGINES, EXPORTERS, IMPORTERS, LAYOUTS, QUANTIZERS, SHARD_FORMATS)
PAGES = {path.relative_to(ROOT / "docs").as_posix(): path.read_text() for path in sorted((ROOT / "docs").rglob("*.md"))}
CALLS = [
    (page, line.strip())
    for page, text in PAGES.items()
    for line in re.sub(r"```.*?```", "", text, flags=re.DOTALL).splitlines()
    if line.startswith("    ") and line.split()[0] in APPS
]
FILE = re.compile(r"# (\w+\.py)\n")
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
FILES = {named[1]: block for text in PAGES.values() for block in BLOCK.findall(text) if (named := FILE.match(block))}
PROGRAMS = [name for name, block in FILES.items() if "vistok.cli.launch" in block]


@pytest.fixture
def tables():
    """Take out again what a page adds to the tables."""
    before = [dict(table) for table in TABLES]
    yield
    for table, entries in zip(TABLES, before, strict=True):
        table.clear()
        table.update(entries)


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if "```python" in text])
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch, tables):
    """A block that begins with the name of a file is that file; the others run in their order."""
    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "photos").symlink_to(PHOTOS)
    if page == "dataset.md":  # whose Python reads what its first command writes
        call = next(line for line in PAGES[page].splitlines() if line.startswith("    tokenize-images"))
        assert CliRunner().invoke(APPS["tokenize-images"], [*shlex.split(call)[1:], "--quiet"]).exit_code == 0
    if page == "language-model.md":
        pytest.importorskip("small_language_model").save_language_model("my-model")
    blocks = BLOCK.findall(PAGES[page])
    names = {}
    modules = set(sys.modules)
    for block in blocks:
        if named := FILE.match(block):
            (tmp_path / named[1]).write_text(block)
    for block in blocks:
        named = FILE.match(block)
        if named is None or named[1] not in PROGRAMS:  # they are started below
            exec(compile(block if named is None else f"import {named[1][:-3]}", page, "exec"), names)
    for module in set(sys.modules) - modules:
        if getattr(sys.modules[module], "__file__", None) and str(tmp_path) in str(sys.modules[module].__file__):
            del sys.modules[module]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_of_a_page_starts_beside_the_files_of_all_pages(program, tmp_path):
    """None of them may have the name of a module that another package imports, such as tokenize."""
    for name, block in FILES.items():
        (tmp_path / name).write_text(block)
    done = run_python(program, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: " in done.stdout


def test_files_of_pages_leave_the_standard_library_alone():
    assert FILES and not {name.removesuffix(".py") for name in FILES} & sys.stdlib_module_names


@pytest.mark.parametrize(("page", "call"), CALLS)
def test_every_call_is_one_that_the_command_takes(page, call):
    name, *arguments = shlex.split(call, comments=True)
    assert {argument for argument in arguments if argument.startswith("--")} <= options(name), page
    if name == "train-tokenizer" and not arguments[0].startswith("--"):
        assert find_config(arguments[0]).is_file()


def test_every_door_has_a_page():
    page = PAGES["extend/index.md"]
    for door in ("network", "quantizer", "criterion", "decoder", "format", "engine", "importer", "layout"):
        assert f"({door}.md)" in page and f"extend/{door}.md" in PAGES
    assert "picture" not in "".join(PAGES.values()).lower()


@pytest.mark.parametrize("script", ["write_config_reference", "write_public_table"])
def test_what_scripts_write_is_current(script, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    written = importlib.import_module(script)
    assert written.PAGE.read_text() == written.page(), f"run python scripts/{script}.py"
