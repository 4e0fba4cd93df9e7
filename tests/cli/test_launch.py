"""How fast and how quietly commands answer before they work, as processes of their own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import vistok

PARENT = Path(vistok.__file__).parents[1]
COMMANDS = ["tokenize_images", "detokenize_images", "evaluate_tokenizer", "train_tokenizer", "finetune_tokenizer"]
COMMANDS += ["export_tokenizer"]
GENEROUS = 5
"""Seconds, for a busy machine; a command answers in 0.2."""


def python(code, *arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(PARENT), "COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
        **options,
    )


def answer(command, *arguments):
    code = f"""
import sys
from vistok.cli import launch
try:
    launch.{command}()
finally:
    heavy = [name for name in ("torch", "accelerate", "timm") if name in sys.modules]
    print("heavy:", *heavy, file=sys.stderr)
"""
    started = time.monotonic()
    result = python(code, *arguments)
    assert time.monotonic() - started < GENEROUS
    *said, heavy = result.stderr.splitlines()
    assert heavy == "heavy:", "imported before it was needed"
    return result.returncode, result.stdout, "\n".join(said)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_version_and_a_wrong_option_are_answered_without_torch(command):
    code, out, err = answer(command, "--help")
    assert (code, err) == (0, "") and "--debug" in out and "--version" in out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert answer(command, "--version") == (0, f"vistok {vistok.__version__}\n", "")
    code, out, err = answer(command, "--no-such-option")
    assert (code, out) == (2, "") and err.splitlines()[-1].startswith("Error: No such option: --no-such-option")


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_missing_is_answered_without_torch(command):
    code, out, err = answer(command)
    assert (code, out) == (2, "") and err.splitlines()[-1].startswith("Error: Missing ")


def test_importing_vistok_imports_no_torch_and_changes_nothing():
    code = """
import logging, os, signal, sys, warnings
before = dict(os.environ), list(warnings.filters), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
import vistok
assert before == (dict(os.environ), list(warnings.filters), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
assert "torch" not in sys.modules and "typer" not in sys.modules
assert {"load", "Tokenizer", "__version__"} <= set(dir(vistok))
from vistok import Tokenizer, load
assert "torch" in sys.modules and vistok.load is load and load.__module__ == "vistok.inference.api"
try:
    vistok.nothing
except AttributeError as error:
    print(error)
"""
    result = python(code)
    assert (result.stdout, result.stderr) == ("module 'vistok' has no attribute 'nothing'\n", "")


def started(code, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(PARENT), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def ended(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


SENTENCE = "tokenize-images: interrupted: give the same command again to go on.\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_modules_are_imported_is_one_sentence(number, tmp_path):
    (tmp_path / "slow_module.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(30)\n")
    code = """
import importlib, sys
from vistok.cli import launch
sys.path.insert(0, sys.argv[1])
launch.importlib = type("", (), {"import_module": lambda *_: importlib.import_module("slow_module")})
launch.tokenize_images()
"""
    process = started(code, str(tmp_path))
    assert process.stdout.readline() == "importing\n"
    process.send_signal(number)
    process.send_signal(number)
    assert ended(process) == (1, "", SENTENCE)


def test_a_signal_in_the_first_seconds_of_the_real_command(tmp_path):
    """Whatever moment it hits: Python itself may still be starting, but after that it is one sentence."""
    code = "from vistok.cli import launch\nprint('go', flush=True)\nlaunch.tokenize_images()"
    for seconds in (0.05, 0.3, 0.8):
        process = started(code, str(PARENT / "nothing"), "--out", str(tmp_path / "out"))
        process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGTERM)
        returncode, out, err = ended(process)
        answered = returncode == 2 and "does not exist" in err and err.count("\n") == 1
        assert answered or (returncode, out, err) == (1, "", SENTENCE), err


WORK = """
import sys, time, threading
from vistok.cli.interruption import install_for_process
from vistok.cli.terminal import one_sentence
import typer
app = typer.Typer(add_completion=False)

@app.command()
def work(kind: str):
    with one_sentence("tokenize-images", False):
        try:
            if kind == "join":
                thread = threading.Thread(target=time.sleep, args=(30,))
                thread.start()
                print("working", flush=True)
                thread.join()
            print("working", flush=True)
            time.sleep(30)
        finally:
            if kind == "cleanup":
                print("cleaning", flush=True)
                time.sleep(30)
            print("cleaned", flush=True)

if "launched" in sys.argv[2:]:
    sys.argv.remove("launched")
    install_for_process("tokenize-images")
app()
"""


@pytest.mark.parametrize("launched", [[], ["launched"]])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_work_cleans_up_and_is_one_sentence(number, launched):
    process = started(WORK, "work", *launched)
    assert process.stdout.readline() == "working\n"
    process.send_signal(number)
    assert ended(process) == (1, "cleaned\n", SENTENCE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_signal_before_or_after_the_work_is_one_sentence_too(number, moment):
    code = """
import sys, time
from vistok.cli.interruption import install_for_process
install_for_process("tokenize-images")
import typer
from vistok.cli.terminal import one_sentence
app = typer.Typer(add_completion=False)

@app.command()
def work(moment: str):
    if moment == "after":
        with one_sentence("tokenize-images", False):
            pass
    print("working", flush=True)
    time.sleep(30)

app()
"""
    process = started(code, moment)
    assert process.stdout.readline() == "working\n"
    process.send_signal(number)
    assert ended(process) == (1, "", SENTENCE)


@pytest.mark.parametrize("launched", [[], ["launched"]])
def test_a_second_signal_during_the_cleaning_ends_it_in_the_same_sentence(launched):
    process = started(WORK, "cleanup", *launched)
    assert process.stdout.readline() == "working\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "cleaning\n"
    process.send_signal(signal.SIGINT)
    assert ended(process) == (1, "", SENTENCE)


def test_a_thread_that_does_not_end_is_left_at_the_next_signal():
    process = started(WORK, "join", "launched")
    assert process.stdout.readline() == "working\n"
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == SENTENCE
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert ended(process) == (1, "cleaned\n", "")


def test_many_signals_are_one_sentence():
    process = started(WORK, "work", "launched")
    assert process.stdout.readline() == "working\n"
    for _ in range(20):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    returncode, _, err = ended(process)
    assert (returncode, err) == (1, SENTENCE)


def test_a_reader_that_has_seen_enough_ends_the_command_quietly():
    code = """
import typer
from vistok.cli.terminal import one_sentence
app = typer.Typer(add_completion=False)

@app.command()
def work():
    with one_sentence("tokenize-images", False):
        for number in range(10**6):
            print(number)

app()
"""
    process = started(code)
    assert process.stdout.readline() == "0\n"
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (1, "")
    process.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_behind_standard_output_is_one_sentence():
    code = """
import typer
from vistok.cli.terminal import one_sentence
app = typer.Typer(add_completion=False)

@app.command()
def work():
    with one_sentence("tokenize-images", False):
        print("done")

app()
"""
    with open("/dev/full", "w") as full:
        environment = {**os.environ, "PYTHONPATH": str(PARENT)}
        result = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False
        )
    sentence = "tokenize-images: the disk is full (while writing): make room and run the same command again.\n"
    assert (result.returncode, result.stderr) == (1, sentence)


def test_the_trainer_starts_as_a_module_too():
    result = subprocess.run(
        [sys.executable, "-m", "vistok.train", "debug"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(PARENT)},
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("train-tokenizer: data.train is missing: set it with data.train=FOLDER (")
    assert result.stderr.count("\n") == 1


HELD = """
import os, signal, sys, time
from vistok.cli.interruption import held_back, interruptible
with interruptible("train-tokenizer") as interruption:
    try:
        with held_back():
            for _ in range(int(sys.argv[1])):
                os.kill(os.getpid(), signal.SIGTERM)
            print("whole", flush=True)
        print("not reached", flush=True)
    except KeyboardInterrupt:
        with held_back():
            os.kill(os.getpid(), signal.SIGINT)
            print("cleaned", flush=True)
        interruption.tell()
"""


@pytest.mark.parametrize("signals", ["1", "3"])
def test_a_signal_that_is_held_back_waits_for_the_end_of_the_body(signals):
    result = python(HELD, signals)
    assert result.stdout == "whole\ncleaned\n"
    assert result.stderr == "train-tokenizer: interrupted: give the same command again to go on.\n"


def test_without_a_signal_or_a_command_nothing_is_held_back():
    code = "from vistok.cli.interruption import held_back\nwith held_back():\n    print('done')"
    assert python(code).stdout == "done\n"
