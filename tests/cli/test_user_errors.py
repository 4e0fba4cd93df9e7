"""An error of a command is one sentence and an exit code."""

import errno
import logging
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import typer

from processes import run_python, start_python
from vistok.cli.user_errors import report_errors
from vistok.images.resizing import resize_short_side
from vistok.tokenizer.config import Config, parse_config
from vistok.train.config_file import find_config


def outcome(work, capsys, debug=False):
    """Return the exit code and what was said on standard error."""
    with pytest.raises(typer.Exit) as ended, report_errors("command", debug):
        work()
    return ended.value.exit_code, capsys.readouterr().err


def raising(error):
    def work():
        raise error

    return work


def test_what_vistok_refuses_is_a_wrong_call(capsys):
    code, said = outcome(lambda: find_config("zzz"), capsys)
    assert code == 2 and said.startswith("command: There is no config 'zzz': give") and said.count("\n") == 1
    code, said = outcome(lambda: parse_config(Config, {"a": 1}), capsys)
    assert (code, said) == (2, "command: a is not a known key: choose from .\n")
    with ThreadPoolExecutor(1) as pool:
        assert outcome(lambda: pool.submit(find_config, "zzz").result(), capsys)[0] == 2


@pytest.mark.parametrize(
    ("work", "sentence"),
    [
        (
            lambda: np.zeros(3) + np.zeros(4),
            "ValueError: operands could not be broadcast together with shapes (3,) (4,)",
        ),
        (lambda: int("x"), "ValueError: invalid literal for int() with base 10: 'x'"),
        (lambda: [][0], "IndexError: list index out of range"),
        (lambda: {}["key"], "KeyError: 'key'"),
        (lambda: len(3), "TypeError: object of type 'int' has no len()"),
        (raising(AssertionError()), "AssertionError"),
        (lambda: resize_short_side(3, 2, "bicubic"), "AttributeError: 'int' object has no attribute"),
    ],
)
def test_what_fails_within_a_library_is_failed_work_and_says_its_kind(work, sentence, capsys):
    code, said = outcome(work, capsys)
    assert code == 1 and said.startswith(f"command: {sentence}") and said.endswith(" (--debug shows where).\n")
    assert said.count("\n") == 1


def test_a_call_from_vistok_into_a_library_is_the_librarys_error(capsys):
    namespace = {"__name__": "vistok.somewhere"}
    exec("def call():\n    return int('x')\ndef refuse():\n    raise ValueError('give a number.')", namespace)
    assert outcome(namespace["call"], capsys) == (
        1,
        "command: ValueError: invalid literal for int() with base 10: 'x' (--debug shows where).\n",
    )
    assert outcome(namespace["refuse"], capsys) == (2, "command: give a number.\n")


def test_what_a_worker_process_raised_is_its_last_line(capsys):
    error = ValueError(
        "Caught ValueError in worker 0.\nOriginal Traceback (most recent call last):\n  File x\nValueError: a.png is broken."
    )
    code, said = outcome(raising(error), capsys)
    assert (code, said) == (1, "command: ValueError: ValueError: a.png is broken (--debug shows where).\n")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "x", "/a/b"), "the disk is full (/a/b): make room and run the same command again."),
        (
            OSError(errno.EACCES, "Permission denied", "/a"),
            "Permission denied (/a): change its permissions, or take another",
        ),
        (OSError(errno.EIO, "Input/output error"), "Input/output error (while writing): check the disk and run"),
        (
            OSError(errno.EIO, "no", "/a/.vistok-0123456789ab.part"),
            "no (/a): check the disk and run the same command again.",
        ),
        (OSError(errno.EIO, "no", b"/a/\xff"), "no ("),
        (MemoryError(), "the memory is full: close other programs, or take smaller images or batches."),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.\nGPU 0"),
            "the memory of the GPU is full: close other programs, or take smaller images or batches.",
        ),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"),
            "the memory is full: close other programs, or take smaller images or batches.",
        ),
        (RuntimeError("the shapes differ"), "RuntimeError: the shapes differ (--debug shows where)."),
    ],
)
def test_errors_of_the_machine_say_what_to_do(error, sentence, capsys):
    code, said = outcome(raising(error), capsys)
    assert code == 1 and said.startswith(f"command: {sentence}") and said.count("\n") == 1


def test_a_name_in_an_error_is_escaped(capsys):
    code, said = outcome(raising(RuntimeError("a\x1b]0;title\x07\n.png")), capsys)
    assert (code, said.count("\n")) == (1, 1) and "\x1b" not in said and "\x07" not in said


def test_debug_lets_errors_pass_but_not_interruptions(capsys):
    with pytest.raises(ZeroDivisionError), report_errors("command", debug=True):
        1 / 0  # noqa: B018
    code, said = outcome(raising(KeyboardInterrupt()), capsys, debug=True)
    assert code == 1 and said == "command: interrupted: run the same command again to continue.\n"


@pytest.mark.parametrize("command", ["evaluate-tokenizer", "export-tokenizer", "import-tokenizer"])
def test_a_command_that_keeps_nothing_does_not_promise_to_continue(command, capsys):
    with pytest.raises(typer.Exit), report_errors(command, debug=False):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == f"{command}: interrupted: run the same command again to start over.\n"


def test_a_reader_that_has_seen_enough_ends_the_command_quietly():
    code = """
import typer
from vistok.cli.user_errors import report_errors
app = typer.Typer(add_completion=False)

@app.command()
def work():
    with report_errors("tokenize-images", False):
        for number in range(10**6):
            print(number)

app()
"""
    process = start_python(code)
    assert process.stdout.readline() == "0\n"
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (1, "")
    process.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_behind_standard_output_is_one_sentence():
    code = """
import typer
from vistok.cli.user_errors import report_errors
app = typer.Typer(add_completion=False)

@app.command()
def work():
    with report_errors("tokenize-images", False):
        print("done")

app()
"""
    with open("/dev/full", "w") as full:
        result = run_python("-c", code, stdout=full)
    sentence = "tokenize-images: the disk is full (while writing): make room and run the same command again.\n"
    assert (result.returncode, result.stderr) == (1, sentence)


def test_libraries_are_kept_off_the_console(monkeypatch, capsys):
    monkeypatch.setenv("TQDM_DISABLE", "0")
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    with report_errors("command", debug=False):
        pass
    logging.getLogger("accelerate.utils").warning("noise")
    logging.getLogger("huggingface_hub.file_download").warning("noise")
    for module in ("timm.models", "PIL.TiffImagePlugin"):
        warnings.warn_explicit("noise", UserWarning, "x.py", 1, module=module)
    with pytest.raises(UserWarning, match="ours"):
        warnings.warn_explicit("ours", UserWarning, "x.py", 1, module="vistok.train")
    assert os.environ["TQDM_DISABLE"] == "0" and os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] == "1"
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("a" * 300, f"{'a' * 60}...{'a' * 57} is longer than the system allows: take a shorter name.\n"),
        ("a\0b", "A path has a NUL byte in it, which no file name can have: take another path.\n"),
    ],
)
def test_a_path_that_no_file_can_have_is_a_wrong_call(path, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(typer.Exit) as left, report_errors("some-command", debug=False):
        open(path).close()
    assert left.value.exit_code == 2 and capsys.readouterr().err == f"some-command: {sentence}"
