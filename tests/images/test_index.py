import os
import tarfile

import pytest

from samples import noise_image, picture_bytes
from vistok.images.index import folder_files, index_pictures, shard_entries
from vistok.images.opening import PictureError

PNG = picture_bytes(noise_image(8, 8), "PNG")


@pytest.fixture
def shard(tmp_path):
    for name in ("b.png", "a.png", "note.txt"):
        (tmp_path / name).write_bytes(PNG if name.endswith("png") else b"text")
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("b.png", "a.png", "note.txt"):
            tar.add(tmp_path / name, arcname=name)
    return path


def test_members_are_found_in_their_order_and_read_back(shard):
    entries = shard_entries(str(shard))
    assert [entry.name for entry in entries] == ["b.png", "a.png", "note.txt"]
    assert entries[0].read() == PNG and entries[2].read() == b"text"


def test_folders_are_walked_in_order_of_name(tmp_path):
    for name in ("z.JPG", "sub/a.png", "sub/deep/b.webp", "skip.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    names = [entry.name.removeprefix(f"{tmp_path}/") for entry in index_pictures(str(tmp_path))]
    assert names == ["sub/a.png", "sub/deep/b.webp", "z.JPG"]


def test_links_are_followed_and_never_round_in_circles(tmp_path):
    (tmp_path / "w" / "real").mkdir(parents=True)
    (tmp_path / "far").mkdir()
    for name in ("w/real/a.png", "far/b.png"):
        (tmp_path / name).write_bytes(PNG)
    (tmp_path / "w" / "linked").symlink_to(tmp_path / "far")
    (tmp_path / "w" / "real" / "up").symlink_to(tmp_path / "w")
    (tmp_path / "far" / "back").symlink_to(tmp_path / "w" / "real")
    assert folder_files(str(tmp_path / "w")) == ["linked/b.png", "linked/back/a.png", "real/a.png"]


def test_links_to_nowhere_are_found_and_say_so_when_read(tmp_path):
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing")
    (tmp_path / "round.png").symlink_to(tmp_path / "round.png")
    os.mkfifo(tmp_path / "pipe.png")
    gone, circle = index_pictures(str(tmp_path))
    assert gone.name.endswith("gone.png") and circle.name.endswith("round.png")
    with pytest.raises(PictureError, match=r"the file cannot be read \(No such file or directory\)"):
        gone.read()


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    opened = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return opened(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root may read every folder
    with pytest.raises(
        ValueError, match=r"closed cannot be read \(Permission denied\): allow it, or leave the folder out"
    ):
        index_pictures(str(tmp_path))


def test_a_shard_that_cannot_be_read_is_one_sentence(tmp_path):
    with pytest.raises(
        ValueError, match=r"gone.tar cannot be read \(No such file or directory\): repair or leave it out"
    ):
        shard_entries(str(tmp_path / "gone.tar"))


def test_brace_ranges(shard):
    shard.rename(shard.with_name("s-0.tar"))
    (shard.with_name("s-1.tar")).write_bytes(shard.with_name("s-0.tar").read_bytes())
    assert len(index_pictures(str(shard.with_name("s-{0..1}.tar")))) == 4


def test_errors_name_the_path(tmp_path, shard):
    with pytest.raises(
        ValueError, match=r"nowhere does not exist: give picture files, folders, .tar shards or a .txt list"
    ):
        index_pictures(str(tmp_path / "nowhere"))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match=r"empty holds no picture with an ending of .bmp"):
        index_pictures(str(empty))
    (tmp_path / "text.tar").write_bytes(b"not a tar" * 200)
    with pytest.raises(ValueError, match=r"text.tar is not an uncompressed tar shard"):
        index_pictures(str(tmp_path / "text.tar"))
    shard.write_bytes(shard.read_bytes()[:600])
    with pytest.raises(ValueError, match=r"shard.tar (ends in the middle of b.png|is not an uncompressed tar)"):
        index_pictures(str(shard))
