import os

import pytest

from vistok.images.file_entry import printable
from vistok.images.finding import inputs as module
from vistok.images.finding.inputs import Input


def expand_inputs(inputs):
    return list(module.expand_inputs(inputs))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png", "é.png"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def paths(*inputs):
    found = expand_inputs(inputs)
    assert all(not problem for _, problem, *_ in found)
    return [path for path, *_ in found]


def test_lists_in_any_encoding_of_their_names(folder):
    (folder / "windows.txt").write_bytes("\ufeffa.png\r\n\r\né.png\r\n".encode())
    assert paths("windows.txt") == ["a.png", "é.png"]
    name = os.fsdecode("ü.png".encode("latin-1"))
    (folder / name).write_bytes(b"")
    (folder / "latin.txt").write_bytes("b.png\nü.png\n".encode("latin-1"))
    assert paths("latin.txt") == ["b.png", name]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_lists_of_windows_programs_have_a_byte_order_mark(folder, encoding):
    (folder / "list.txt").write_bytes("\ufeffa.png\r\n# é\r\né.png".encode(encoding))
    assert paths("list.txt") == ["a.png", "é.png"]


@pytest.mark.parametrize(
    "content",
    ["a.png\n".encode("utf-16-le"), b"a.png\nb\0.png\n", b"\xff\xfea", "\ufeffa.png\n".encode("utf-16-le")[:-1]],
)
def test_lists_that_are_no_text_are_refused(folder, content):
    (folder / "list.txt").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"^list.txt is not text in UTF-8, nor in UTF-16 with a byte order mark: save it as UTF-8\.$"
    ):
        expand_inputs(["list.txt"])


def test_lists_that_are_too_long_or_closed_are_refused(folder, monkeypatch):
    (folder / "list.txt").write_bytes(b"")
    os.truncate(folder / "list.txt", module.MAX_LIST + 1)
    with pytest.raises(
        ValueError, match=r"^list.txt has more than 1,073,741,824 bytes, too many for a list: split it\.$"
    ):
        expand_inputs(["list.txt"])

    def closed(path, mode):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(module, "open", closed, raising=False)
    with pytest.raises(
        ValueError, match=r"^list.txt cannot be read \(Permission denied\): allow it, or leave it out\.$"
    ):
        expand_inputs(["list.txt"])


def test_lines_that_begin_with_a_hash_are_comments(folder):
    (folder / "a#1.png").write_bytes(b"")
    (folder / "#2.png").write_bytes(b"")
    (folder / "list.txt").write_text("# {a comment\n#\na#1.png\n#a.png\n#2.png\n\n  \n./#2.png")
    assert paths("list.txt") == ["a#1.png", "#2.png", "./#2.png"]


def test_lists_may_name_lists_twice_but_not_themselves(folder):
    (folder / "inner.txt").write_text("a.png\n")
    (folder / "outer.txt").write_text("inner.txt\n{a,b}.png\ninner.txt\n")
    assert paths("outer.txt") == ["a.png", "a.png", "b.png", "a.png"]
    (folder / "inner.txt").write_text("\nouter.txt\n")
    with pytest.raises(ValueError, match=r"in inner.txt, line 2: outer.txt leads back to itself: remove that line"):
        expand_inputs(["outer.txt"])


def test_lines_that_are_no_file_have_a_problem_and_the_others_stay(folder):
    os.mkfifo("pipe.txt")
    (folder / "nowhere.png").symlink_to("nothing")
    (folder / "sub").mkdir()
    (folder / "list.txt").write_bytes(
        "a.png\n\nü.png\nsub\npipe.txt\n/dev/zero\nx{0..\nc{1..2}.tar\nnowhere.png\ngone.txt\nb.png".encode("latin-1")
    )
    (folder / "outer.txt").write_text("list.txt\n")
    expected = [
        Input("a.png"),
        Input("\udcfc.png", "does not exist (list.txt, line 3)"),
        Input("sub", is_folder=True),
        Input("pipe.txt", "is a fifo, not a file (list.txt, line 5)"),
        Input("/dev/zero", "is a device, not a file (list.txt, line 6)"),
        Input("x{0..", "does not exist (list.txt, line 7)"),
        Input("c1.tar", "does not exist (list.txt, line 8)"),
        Input("c2.tar", "does not exist (list.txt, line 8)"),
        Input("nowhere.png", "is a link to nowhere (list.txt, line 9)"),
        Input("gone.txt", "does not exist (list.txt, line 10)"),
        Input("b.png"),
    ]
    assert expand_inputs(["list.txt"]) == expand_inputs(["outer.txt"]) == expected


def test_what_is_no_file_on_the_command_line_is_an_error(folder):
    os.mkfifo("pipe.txt")
    (folder / "nowhere.png").symlink_to("nothing")
    reading, writing = os.pipe()
    for path, problem in (
        ("gone.png", "does not exist"),
        ("{a,gone}.png", "does not exist"),
        ("pipe.txt", "is a fifo, not a file"),
        (f"/dev/fd/{reading}", "is a fifo, not a file"),
        ("/dev/zero", "is a device, not a file"),
        ("nowhere.png", "is a link to nowhere"),
    ):
        with pytest.raises(ValueError, match=rf" ?{problem}: give image files, folders, .tar shards or a .txt list\.$"):
            expand_inputs([path])
    os.close(reading)
    os.close(writing)
    with pytest.raises(ValueError, match=r"^x\{0.. does not exist and has unbalanced braces: write a range as"):
        expand_inputs(["x{0.."])


def test_too_many_paths_are_refused_with_their_place(folder):
    (folder / "list.txt").write_text("a.png\n{0..999999999999}.tar\n")
    with pytest.raises(
        ValueError, match=r"^in list.txt, line 2: \{0..999999999999\}.tar expands to more than 1,000,000 paths"
    ):
        expand_inputs(["list.txt"])


@pytest.mark.parametrize("ending", ["tar.gz", "TGZ", "tar.bz2", "tar.xz", "Tar.Zst", "tar.lz4", "tbz2", "txz", "tzst"])
def test_compressed_tars_are_refused(folder, ending):
    (folder / f"s.{ending}").write_bytes(b"")
    with pytest.raises(ValueError, match=rf"^s.{ending} is a compressed tar: decompress it, and give the .tar\.$"):
        expand_inputs([f"s.{ending}"])
    (folder / "list.txt").write_text(f"a.png\ns.{ending}\n")
    with pytest.raises(ValueError, match=rf"^in list.txt, line 2: s.{ending} is a compressed tar"):
        expand_inputs(["list.txt"])


def test_folders_and_unknown_endings_are_taken_as_they_are(folder):
    for name in ("list.txt", "s.tar.gz"):
        (folder / name).mkdir()
    (folder / "photo.xyz").write_bytes(b"")
    (folder / "S.TAR").write_bytes(b"")
    given = ["list.txt", "s.tar.gz", "photo.xyz", "S.TAR"]
    assert paths(*given) == given


def test_paths_with_braces_that_exist_are_taken_as_they_are(folder):
    (folder / "x{0..").write_bytes(b"")
    assert paths("x{0..") == ["x{0.."]


def test_printable_names():
    assert printable("é b.png") == "é b.png"
    assert printable(os.fsdecode(b"a\xff.png")) == r"a\xff.png"
