import os

import pytest

from vistok.images.inputs import expand_inputs, printable


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png", "é.png"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_lists_in_any_encoding_of_their_names(folder):
    (folder / "windows.txt").write_bytes("\ufeffa.png\r\n\r\né.png\r\n".encode())
    assert expand_inputs(["windows.txt"]) == ["a.png", "é.png"]
    name = os.fsdecode("ü.png".encode("latin-1"))
    (folder / name).write_bytes(b"")
    (folder / "latin.txt").write_bytes("b.png\nü.png\n".encode("latin-1"))
    assert expand_inputs(["latin.txt"]) == ["b.png", name]


def test_lists_may_name_lists_twice_but_not_themselves(folder):
    (folder / "inner.txt").write_text("a.png\n")
    (folder / "outer.txt").write_text("inner.txt\n{a,b}.png\ninner.txt\n")
    assert expand_inputs(["outer.txt"]) == ["a.png", "a.png", "b.png", "a.png"]
    (folder / "inner.txt").write_text("\nouter.txt\n")
    with pytest.raises(ValueError, match=r"in inner.txt, line 2: outer.txt leads back to itself: remove that line"):
        expand_inputs(["outer.txt"])


def test_what_is_missing_is_named_with_its_list_and_line(folder):
    (folder / "list.txt").write_bytes("a.png\n\nü.png\n".encode("latin-1"))
    with pytest.raises(
        ValueError,
        match=r"in list.txt, line 3: \\xfc.png does not exist, counted from the working directory: give picture",
    ):
        expand_inputs(["list.txt"])
    (folder / "list.txt").write_text("x{0..\n")
    with pytest.raises(
        ValueError, match=r"in list.txt, line 1: x\{0.. does not exist and has a brace without its partner"
    ):
        expand_inputs(["list.txt"])


def test_paths_with_braces_that_exist_are_taken_as_they_are(folder):
    (folder / "x{0..").write_bytes(b"")
    assert expand_inputs(["x{0.."]) == ["x{0.."]


def test_printable_names():
    assert printable("é b.png") == "é b.png"
    assert printable(os.fsdecode(b"a\xff.png")) == r"a\xff.png"
