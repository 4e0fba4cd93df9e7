"""Ctrl-C and SIGTERM end a command with one sentence, in real processes."""

import signal
import threading
import time

import pytest
import typer

from processes import PARENT, outcome_of, run_python, start_python
from vistok.cli.user_errors import report_errors

SENTENCE = "tokenize-images: interrupted: run the same command again to continue.\n"


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
    process = start_python(code, str(tmp_path))
    assert process.stdout.readline() == "importing\n"
    process.send_signal(number)
    process.send_signal(number)
    assert outcome_of(process) == (1, "", SENTENCE)


def test_a_signal_in_the_first_seconds_of_the_real_command(tmp_path):
    """Whatever moment it hits: Python itself may still be starting, but after that it is one sentence."""
    code = "from vistok.cli import launch\nprint('go', flush=True)\nlaunch.tokenize_images()"
    for seconds in (0.05, 0.3, 0.8):
        process = start_python(code, str(PARENT / "nothing"), "--out", str(tmp_path / "out"))
        process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGTERM)
        returncode, out, err = outcome_of(process)
        answered = returncode == 2 and "does not exist" in err and err.count("\n") == 1
        assert answered or (returncode, out, err) == (1, "", SENTENCE), err


WORK = """
import sys, time, threading
from vistok.cli.interruption import install_for_process
from vistok.cli.user_errors import report_errors
import typer
app = typer.Typer(add_completion=False)

@app.command()
def work(kind: str):
    with report_errors("tokenize-images", False):
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
    process = start_python(WORK, "work", *launched)
    assert process.stdout.readline() == "working\n"
    process.send_signal(number)
    assert outcome_of(process) == (1, "cleaned\n", SENTENCE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_signal_before_or_after_the_work_is_one_sentence_too(number, moment):
    code = """
import sys, time
from vistok.cli.interruption import install_for_process
install_for_process("tokenize-images")
import typer
from vistok.cli.user_errors import report_errors
app = typer.Typer(add_completion=False)

@app.command()
def work(moment: str):
    if moment == "after":
        with report_errors("tokenize-images", False):
            pass
    print("working", flush=True)
    time.sleep(30)

app()
"""
    process = start_python(code, moment)
    assert process.stdout.readline() == "working\n"
    process.send_signal(number)
    assert outcome_of(process) == (1, "", SENTENCE)


@pytest.mark.parametrize("launched", [[], ["launched"]])
def test_a_second_signal_during_the_cleaning_ends_it_in_the_same_sentence(launched):
    process = start_python(WORK, "cleanup", *launched)
    assert process.stdout.readline() == "working\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "cleaning\n"
    process.send_signal(signal.SIGINT)
    assert outcome_of(process) == (1, "", SENTENCE)


def test_a_thread_that_does_not_end_is_left_at_the_next_signal():
    process = start_python(WORK, "join", "launched")
    assert process.stdout.readline() == "working\n"
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == SENTENCE
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert outcome_of(process) == (1, "cleaned\n", "")


def test_many_signals_are_one_sentence():
    process = start_python(WORK, "work", "launched")
    assert process.stdout.readline() == "working\n"
    for _ in range(20):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    returncode, _, err = outcome_of(process)
    assert (returncode, err) == (1, SENTENCE)


HELD = """
import os, signal, sys, time
from vistok.cli.interruption import delay_signals, interruptible
with interruptible("train-tokenizer") as interruption:
    try:
        with delay_signals():
            for _ in range(int(sys.argv[1])):
                os.kill(os.getpid(), signal.SIGTERM)
            print("whole", flush=True)
        print("not reached", flush=True)
    except KeyboardInterrupt:
        with delay_signals():
            os.kill(os.getpid(), signal.SIGINT)
            print("cleaned", flush=True)
        interruption.report()
"""


@pytest.mark.parametrize("signals", ["1", "3"])
def test_a_delayed_signal_waits_for_the_end_of_the_body(signals):
    result = run_python("-c", HELD, signals)
    assert result.stdout == "whole\ncleaned\n"
    assert result.stderr == "train-tokenizer: interrupted: run the same command again to continue.\n"


def test_without_a_signal_or_a_command_nothing_is_delayed():
    code = "from vistok.cli.interruption import delay_signals\nwith delay_signals():\n    print('done')"
    assert run_python("-c", code).stdout == "done\n"


def test_handlers_of_signals_are_restored(capsys):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(typer.Exit), report_errors("command", False):
        signal.raise_signal(signal.SIGTERM)
    with pytest.raises(typer.Exit), report_errors("command", False):
        raise ValueError
    with report_errors("command", False):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] != before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_in_another_thread_signals_are_left_alone(capsys):
    done = []

    def work():
        with report_errors("command", False):
            done.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [before]


def test_a_launcher_may_pass_a_signal_on_again():
    code = """
import os, signal, sys
from vistok.cli.interruption import interruptible
os.environ.update(LOCAL_RANK="0") if sys.argv[1] == "launched" else None
with interruptible("train-tokenizer"):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        print("saved", flush=True)
"""
    assert outcome_of(start_python(code, "launched")) == (0, "saved\n", "")
    sentence = "train-tokenizer: interrupted: run the same command again to continue.\n"
    assert outcome_of(start_python(code, "alone")) == (1, "", sentence)
