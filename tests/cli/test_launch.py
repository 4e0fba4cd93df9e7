"""Commands answer quickly and without torch before they work, in real processes."""

import time

import pytest

import vistok
from processes import run_python

COMMANDS = ["tokenize_images", "detokenize_images", "evaluate_tokenizer", "train_tokenizer", "finetune_tokenizer"]
COMMANDS += ["export_tokenizer", "import_tokenizer", "verify_tokens", "report_tokens"]
GENEROUS = 5
"""Seconds, for a busy machine; a command answers in 0.2."""


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
    result = run_python("-c", code, *arguments)
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
    name = command.replace("_", "-")
    sentence = f"{name}: there is no option --no-such-option (--help lists what it takes)."
    assert (code, out, err) == (2, "", sentence)
    nearest = f"{name}: there is no option --debgu: did you mean --debug?"
    assert answer(command, "--debgu") == (2, "", nearest)


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_missing_is_answered_without_torch(command):
    code, out, err = answer(command)
    assert (code, out) == (2, "") and "\n" not in err
    assert err.startswith(f"{command.replace('_', '-')}: ") and err.endswith(
        " is missing (--help lists what it takes)."
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a.png", "--modle", "x"], "there is no option --modle: did you mean --model?"),
        (["a.png", "--out"], "--out requires an argument (--help lists what it takes)."),
        (["a.png", "--out", "x", "--on-error", "z"], "--on-error: 'z' is not one of 'skip', 'stop' (--help lists"),
        (["a.png", "--out", "x", "--batch-size", "0"], "--batch-size: "),
        (["a.png", "--out", "x", "--shard-size", "0"], "--shard-size is '0', but must be at least 1 (--help lists"),
        (["a.png", "--out", "x", "--workers", "x"], "--workers is 'x', but must be a whole number (--help lists"),
        (["a.png", "--out", "x", "--fast=3"], "--fast does not take a value (--help lists what it takes)."),
    ],
)
def test_a_call_that_a_command_does_not_take_is_one_sentence(arguments, sentence):
    code, out, err = answer("tokenize_images", *arguments)
    assert (code, out) == (2, "") and err.startswith(f"tokenize-images: {sentence}") and "\n" not in err


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
    result = run_python("-c", code)
    assert (result.stdout, result.stderr) == ("module 'vistok' has no attribute 'nothing'\n", "")


def test_the_trainer_starts_as_a_module_too():
    result = run_python("-m", "vistok.train", "debug")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("train-tokenizer: data.train is missing: set it with data.train=FOLDER (")
    assert result.stderr.count("\n") == 1
