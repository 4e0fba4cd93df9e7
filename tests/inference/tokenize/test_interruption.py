"""Ctrl-C and SIGTERM end a command within seconds, in a sentence, and the same command goes on."""

import os
import signal
import subprocess
import sys
import time

import pytest

from samples import image_bytes, noise_image
from vistok.tokenizer.folder_lock import hold_folder

COMMAND = "from vistok.cli.launch import tokenize_images; tokenize_images()"


def started(arguments):
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_sentence_and_the_same_command_goes_on(tokenizer_folder, tokenize, tmp_path, number):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    content = image_bytes(noise_image(600, 600), "PNG")  # which takes a while to read
    for index in range(60):
        (photos / f"{index:03d}.png").write_bytes(content)
    call = [photos, "--out", out, "--model", tokenizer_folder, "--shard-size", 4]
    process = started(call)
    while process.poll() is None and len(list(out.glob("*.tar"))) < 2:
        time.sleep(0.01)
    process.send_signal(number)
    told = time.monotonic()
    _, complained = process.communicate(timeout=30)
    assert time.monotonic() - told < 10 and process.returncode == 1
    assert complained.startswith("tokenize-images: interrupted") and complained.count("\n") == 1, complained
    assert 2 <= len(list(out.glob("*.json"))) - 1 < 15 and not (out / ".vistok.lock").exists()
    assert "15 shards" in tokenize(*call[:-4], "--shard-size", 4)


def test_a_second_command_on_the_folder_is_told_who_has_it(tokenizer_folder, tokenize, tmp_path):
    (tmp_path / "a.png").write_bytes(image_bytes(noise_image(64, 64), "PNG"))
    with hold_folder(tmp_path / "out", "tokenize-images"):
        said = tokenize(tmp_path / "a.png", "--out", tmp_path / "out", code=2)
    assert f"out is being written to by tokenize-images (pid {os.getpid()} on " in said
    assert "1 written" in tokenize(tmp_path / "a.png", "--out", tmp_path / "out")
