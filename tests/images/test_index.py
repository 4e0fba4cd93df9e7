import tarfile

import pytest

from samples import noise_image, picture_bytes
from vistok.images.index import index_pictures, shard_entries

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


def test_brace_ranges(shard):
    shard.rename(shard.with_name("s-0.tar"))
    (shard.with_name("s-1.tar")).write_bytes(shard.with_name("s-0.tar").read_bytes())
    assert len(index_pictures(str(shard.with_name("s-{0..1}.tar")))) == 4


def test_errors_name_the_path(tmp_path, shard):
    with pytest.raises(ValueError, match=r"nowhere does not exist: give a folder"):
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
