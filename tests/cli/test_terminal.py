"""What the commands share on the terminal."""

import errno
import json
import logging
import os
import signal
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import typer

from vistok.cli.terminal import counted, names, one_sentence, print_json, say
from vistok.images.preprocessing import resize_short_side
from vistok.tokenizer.config import Config, parse_config
from vistok.train.shipped_configs import find_config


def outcome(work, capsys, debug=False):
    """Return the exit code and what was said on standard error."""
    with pytest.raises(typer.Exit) as ended, one_sentence("command", debug):
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
        (OSError(errno.EIO, "Input/output error"), "Input/output error (while writing): look at the disk and run"),
        (
            OSError(errno.EIO, "no", "/a/.vistok-0123456789ab.part"),
            "no (/a): look at the disk and run the same command again.",
        ),
        (OSError(errno.EIO, "no", b"/a/\xff"), "no ("),
        (MemoryError(), "the memory is full: close other programs, or take smaller images or batches."),
    ],
)
def test_errors_of_the_machine_say_what_to_do(error, sentence, capsys):
    code, said = outcome(raising(error), capsys)
    assert code == 1 and said.startswith(f"command: {sentence}") and said.count("\n") == 1


def test_no_letter_of_a_name_reaches_the_terminal_that_is_not_printed(capsys):
    hostile = "a\x1b]0;title\x07\n\r\t\x9b\udce9\u202e.png"
    assert names(hostile) == "a\\x1b]0;title\\x07\\n\\r\\t\\x9b\\udce9\\u202e.png"
    assert names("café 写真\u3000\u00a0ñ.jpg") == "café 写真\u3000\u00a0ñ.jpg"
    say(hostile)
    say(hostile, aside=True)
    assert capsys.readouterr() == (names(hostile) + "\n",) * 2
    code, said = outcome(raising(RuntimeError(hostile)), capsys)
    assert (code, said.count("\n")) == (1, 1) and "\x1b" not in said and "\x07" not in said


def test_json_is_one_line(capsys):
    print_json({"a": Path("x"), "b": [1, None], "c": "a\nb\udce9"})
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and json.loads(out) == {"a": "x", "b": [1, None], "c": "a\nb\udce9"}


def test_debug_lets_errors_pass_but_not_interruptions(capsys):
    with pytest.raises(ZeroDivisionError), one_sentence("command", debug=True):
        1 / 0  # noqa: B018
    code, said = outcome(raising(KeyboardInterrupt()), capsys, debug=True)
    assert code == 1 and said == "command: interrupted: give the same command again to go on.\n"


def test_handlers_of_signals_are_restored(capsys):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    outcome(lambda: os.kill(os.getpid(), signal.SIGTERM), capsys)
    outcome(raising(ValueError()), capsys)
    with one_sentence("command", False):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] != before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_in_another_thread_signals_are_left_alone(capsys):
    done = []

    def work():
        with one_sentence("command", False):
            done.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [before]


def test_libraries_are_kept_off_the_console(monkeypatch, capsys):
    monkeypatch.setenv("TQDM_DISABLE", "0")
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    with one_sentence("command", False):
        logging.getLogger("accelerate.utils").warning("noise")
        logging.getLogger("huggingface_hub.file_download").warning("noise")
        warnings.warn_explicit("noise", UserWarning, "x.py", 1, module="timm.models")
        with pytest.raises(UserWarning, match="ours"):
            warnings.warn_explicit("ours", UserWarning, "x.py", 1, module="vistok.train")
    assert os.environ["TQDM_DISABLE"] == "0" and os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] == "1"
    assert capsys.readouterr() == ("", "")


def test_numbers_have_their_nouns():
    assert [counted(number, "image") for number in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
