import os
import re
import tarfile

import pytest

from samples import image_bytes, noise_image
from tars import shard_entries, write_tar
from vistok.images.finding.index import index_images
from vistok.images.finding.inputs import is_image
from vistok.images.tars.blocks import DamagedShard

PNG = image_bytes(noise_image(8, 8), "PNG")


@pytest.fixture
def shard(tmp_path):
    members = [("b.png", PNG), ("a.png", PNG), ("note.txt", b"text")]
    for name, content in members:
        (tmp_path / name).write_bytes(content)
    return write_tar(tmp_path / "shard.tar", members)


def test_members_are_found_in_their_order_and_read_back(shard):
    entries = shard_entries(shard)
    assert [entry.name for entry in entries] == ["b.png", "a.png", "note.txt"]
    assert entries[0].read() == PNG and entries[2].read() == b"text"


def test_folders_are_walked_in_order_of_name(tmp_path):
    for name in ("z.JPG", "sub/a.png", "sub/deep/b.webp", "skip.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    names = [entry.name.removeprefix(f"{tmp_path}/") for entry in index_images(str(tmp_path))]
    assert names == ["sub/a.png", "sub/deep/b.webp", "z.JPG"]


def test_links_to_nowhere_are_found_and_say_so_when_read(tmp_path):
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing")
    (tmp_path / "round.png").symlink_to(tmp_path / "round.png")
    os.mkfifo(tmp_path / "pipe.png")
    gone, circle = index_images(str(tmp_path))
    assert gone.name.endswith("gone.png") and circle.name.endswith("round.png")
    with pytest.raises(FileNotFoundError):
        gone.read()


def test_missing_lines_of_a_list_are_found_and_say_so_when_read(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "list.txt").write_text(f"{tmp_path}/a.png\n# more\n{tmp_path}/gone.tar\n")
    there, gone = index_images(str(tmp_path / "list.txt"))
    assert there.read() == PNG
    with pytest.raises(FileNotFoundError):
        gone.read()


def test_a_shard_that_cannot_be_read_is_no_damaged_shard(tmp_path):
    with pytest.raises(FileNotFoundError):
        shard_entries(tmp_path / "gone.tar")


def test_training_does_not_draw_from_a_damaged_shard(shard):
    first = shard_entries(shard)[0]
    shard.write_bytes(shard.read_bytes()[: first.offset + -(-first.size // 512) * 512])
    with pytest.raises(DamagedShard, match=r"shard.tar is cut off at byte \d+ \(after b.png\), before the end mark"):
        index_images(str(shard))


def test_endings_of_images():
    for name in (
        "a.JPG",
        "a.jpeg",
        "a.jfif",
        "a.jpe",
        "a.png",
        "a.webp",
        "a.gif",
        "a.tif",
        "a.TIFF",
        "a.bmp",
        "a.avif",
    ):
        assert is_image(name)
    for name in ("a.txt", "jpg", "a.jpg.txt", "a.eps", "a.svg"):
        assert not is_image(name)
    assert is_image("a.heic") and is_image("a.HEIF")


def test_links_in_a_shard_are_images_too(tmp_path):
    write_tar(tmp_path / "s.TAR", [("a.png", PNG), ("b.png", "a.png", tarfile.SYMTYPE)])
    entries = index_images(str(tmp_path / "s.TAR"))
    assert [(entry.name, entry.read()) for entry in entries] == [("a.png", PNG), ("b.png", PNG)]


def test_brace_ranges(shard):
    shard.rename(shard.with_name("s-0.tar"))
    (shard.with_name("s-1.tar")).write_bytes(shard.with_name("s-0.tar").read_bytes())
    assert len(index_images(str(shard.with_name("s-{0..1}.tar")))) == 4


def test_errors_name_the_path(tmp_path, shard):
    with pytest.raises(
        ValueError, match=r"nowhere does not exist: give image files, folders, .tar shards or a .txt list"
    ):
        index_images(str(tmp_path / "nowhere"))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match=r"empty holds no image with the extension .avif, .bmp"):
        index_images(str(empty))
    shard.rename(empty / "s.tar")
    hint = rf"\.webp; its \.tar shards are read if they are named, such as {re.escape(str(empty / 's.tar'))}\.$"
    with pytest.raises(ValueError, match=hint):
        index_images(str(empty))
    (tmp_path / "text.tar").write_bytes(b"not a tar" * 200)
    with pytest.raises(
        DamagedShard, match=r"text.tar does not begin with a valid header of a tar: repair or leave it out"
    ):
        index_images(str(tmp_path / "text.tar"))
