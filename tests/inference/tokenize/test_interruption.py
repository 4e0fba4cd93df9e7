"""Ctrl-C and SIGTERM end a command within seconds, in a sentence, and the same command goes on."""

import os
import signal
import time
from pathlib import Path

import pytest
from waiting import held_after, is_running, wait_for_shards

from samples import image_bytes, noise_image
from vistok.tokenizer.folder_lock import hold_folder

IN_PROCESSES = "from vistok.inference.inputs import readers; readers.FED_BY_PROCESSES = ('cpu', 'cuda')"


def readers_of(process):
    """Return the processes that any thread of a command has started."""
    lists = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [int(child) for children in lists for child in children.read_text().split()]


@pytest.mark.parametrize(
    ("number", "before"), [(signal.SIGINT, ""), (signal.SIGTERM, ""), (signal.SIGINT, IN_PROCESSES)]
)
def test_a_signal_is_a_sentence_and_the_same_command_goes_on(
    start, tokenizer_folder, tokenize, tmp_path, number, before
):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    content = image_bytes(noise_image(64, 64), "PNG")
    for index in range(60):
        (photos / f"{index:03d}.png").write_bytes(content)
    call = [photos, "--out", out, "--model", tokenizer_folder, "--shard-size", 4]
    process = start([*call, "--batch-size", 4], f"{held_after(2, seconds=1)}\n{before}")
    wait_for_shards(out, 2, process)
    readers = readers_of(process) if before else []
    assert bool(before) == bool(readers)
    process.send_signal(number)
    told = time.monotonic()
    _, complained = process.communicate(timeout=60)
    assert time.monotonic() - told < 30 and process.returncode == 1
    assert complained.startswith("tokenize-images: interrupted") and complained.count("\n") == 1, complained
    assert not any(map(is_running, readers))
    assert 2 <= len(list(out.glob("*.json"))) - 1 < 15 and not (out / ".vistok.lock").exists()
    assert "15 shards" in tokenize(*call[:-4], "--shard-size", 4)


def test_a_reader_that_the_system_kills_costs_no_image(start, tokenizer_folder, tokenize, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for index in range(60):
        image = image_bytes(noise_image(64, 64, index), "PNG")
        (photos / f"{index:03d}.png").write_bytes(b"broken" if index == 17 else image)
    process = start(
        [photos, "--out", out, "--model", tokenizer_folder, "--shard-size", 9, "--workers", 2, "--batch-size", 1],
        f"{held_after(1)}\n{IN_PROCESSES}",
    )
    wait_for_shards(out, 1, process)
    for reader in readers_of(process):
        os.kill(reader, signal.SIGKILL)
    (tmp_path / "go").touch()
    said, complained = process.communicate(timeout=60)
    assert process.returncode == 0 and "59 tokenized, 1 failed" in said, said + complained
    tokenize(photos, "--out", tmp_path / "threads", "--shard-size", 9)
    folders = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in (out, tmp_path / "threads"))
    assert next(folders) == next(folders)


def test_a_second_command_on_the_folder_is_told_who_has_it(tokenizer_folder, tokenize, tmp_path):
    (tmp_path / "a.png").write_bytes(image_bytes(noise_image(64, 64), "PNG"))
    with hold_folder(tmp_path / "out", "tokenize-images"):
        said = tokenize(tmp_path / "a.png", "--out", tmp_path / "out", code=2)
    assert f"out is being written to by tokenize-images (pid {os.getpid()} on " in said
    assert "1 written" in tokenize(tmp_path / "a.png", "--out", tmp_path / "out")
