"""Files are whole or not there."""

import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from vistok.tokenizer.files import aside_folder, aside_of, remove_asides, write_whole
from vistok.tokenizer.turns import take_turn


def test_a_name_of_255_bytes_can_be_written(tmp_path):
    path = tmp_path / ("n" * 255)
    write_whole(path, b"content")
    assert path.read_bytes() == b"content" and os.listdir(tmp_path) == [path.name]
    assert len(aside_of(path).name) < 30 and aside_of(path) != aside_of(tmp_path / ("n" * 254))


def test_what_the_disk_refuses_leaves_what_was_there(tmp_path, monkeypatch):
    write_whole(tmp_path / "a", b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old" and os.listdir(tmp_path) == ["a"]


def write_often(path, content, count):
    for _ in range(count):
        write_whole(path, content)


def test_threads_and_processes_write_one_file_in_turns(tmp_path):
    path = tmp_path / "folder" / "file"
    contents = [letter * 100_000 for letter in (b"a", b"b", b"c", b"d", b"e", b"f")]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=write_often, args=(path, content, 40)) for content in contents[:3]]
    for process in processes:
        process.start()
    with ThreadPoolExecutor(3) as pool:
        writing = [pool.submit(write_often, path, content, 40) for content in contents[3:]]
        while not all(each.done() for each in writing):
            if path.exists():
                assert path.read_bytes() in contents
        for each in writing:
            each.result()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert path.read_bytes() in contents and os.listdir(path.parent) == ["file"]


def test_what_a_killed_writer_leaves_holds_up_nobody(tmp_path):
    aside_of(tmp_path / "a").write_bytes(b"left, and longer than the new")
    write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new" and os.listdir(tmp_path) == ["a"]


def test_what_is_left_of_files_is_removed_and_a_folder_aside_stays(tmp_path):
    for path in (tmp_path / "a", tmp_path / "b"):
        write_whole(aside_of(path), b"left")
    aside_of(tmp_path / "c").mkdir()
    remove_asides(tmp_path)
    assert os.listdir(tmp_path) == [aside_of(tmp_path / "c").name]


def make_folder(target, number):
    with aside_folder(target) as aside:
        if target.exists():
            return False
        assert not list(aside.iterdir())
        for name in ("one", "two"):
            (aside / name).write_text(number)
            time.sleep(0.01)
        aside.rename(target)
        return True


def test_writers_of_one_folder_take_turns(tmp_path):
    aside_of(tmp_path / "target").mkdir()
    (aside_of(tmp_path / "target") / "left").mkdir()
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda number: make_folder(tmp_path / "target", str(number)), range(6)))
    assert sum(made) == 1 and os.listdir(tmp_path) == ["target"]
    assert {path.read_text() for path in (tmp_path / "target").iterdir()} == {str(made.index(True))}


def test_a_folder_that_fails_is_removed(tmp_path):
    with pytest.raises(RuntimeError), aside_folder(tmp_path / "target") as aside:
        (aside / "half").write_text("half")
        raise RuntimeError
    assert not os.listdir(tmp_path)


def test_a_folder_that_another_writer_removes_meanwhile_is_made_again(tmp_path):
    tries = []

    def make(exist_ok):
        tries.append(exist_ok)
        if len(tries) == 1:
            raise FileExistsError(17, "File exists", str(tmp_path / "aside"))  # and then it is gone
        (tmp_path / "aside").mkdir(exist_ok=exist_ok)

    with take_turn(tmp_path / "aside", make):
        assert (tmp_path / "aside").is_dir() and tries == [True, True]
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError), take_turn(tmp_path / "file", (tmp_path / "file").mkdir):
        pass
