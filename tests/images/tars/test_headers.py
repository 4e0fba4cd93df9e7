"""Headers of all kinds are read as their writers meant them."""

import pytest

from tars import BLOCK, END, data, header, listed, shard_entries
from vistok.images.tars.blocks import DamagedShard


def test_sparse_files_are_stepped_over(tmp_path):
    path = tmp_path / "s.tar"
    sparse = bytearray(header(b"old.jpg", kind=b"S", size=b"00000000003", magic=b"ustar  \0", rest=bytes(96) + b"\1"))
    more = bytearray(BLOCK)
    more[504] = 1
    after = header(b"b.jpg", size=b"00000000001") + data(b"b")
    path.write_bytes(bytes(sparse) + more + bytes(BLOCK) + data(b"xyz") + after + END)
    assert listed(path) == [("old.jpg", "sparse file", None), ("b.jpg", "file", b"b")]
    path.write_bytes(bytes(sparse) + more[:100])
    with pytest.raises(DamagedShard, match=r"is cut off within the header at byte 0"):
        shard_entries(path)
    pax = b"22 GNU.sparse.major=1\n" + b"27 GNU.sparse.name=new.jpg\n"
    path.write_bytes(
        header(b"x", kind=b"x", size=b"%011o" % len(pax)) + data(pax) + header(b"y", size=b"1") + data(b"z") + END
    )
    assert listed(path) == [("new.jpg", "sparse file", None)]


def test_fields_are_read_as_their_writers_meant_them(tmp_path):
    path = tmp_path / "s.tar"
    path.write_bytes(
        header(b"a.jpg", size=b"1           ", prefix=b"far/off")
        + data(b"a")
        + header(b"times.jpg", magic=b"ustar  \0", prefix=b"15000000000\x0015000000000\0")  # GNU tar's, no folder
        + header(b"go.jpg", magic=b"ustar  \0", prefix=b"folder")  # but some writers have folders there
        + header(b"seven.jpg", magic=b"", kind=b"\0", prefix=b"garbage")
        + header(b"d/", magic=b"", kind=b"\0")
        + header("é.jpg".encode(), signed=True)
        + header(b"\xff.jpg", size=b"\x80" + bytes(10) + b"\2")
        + data(b"ff")
        + header(b"copy.jpg", kind=b"1", size=b"3")
        + data(b"its")  # a hard link that has the bytes too
        + header(b"none.jpg", kind=b"1", size=b"3")  # and one that only says so
        + END
    )
    assert listed(path) == [
        ("far/off/a.jpg", "file", b"a"),
        ("times.jpg", "file", b""),
        ("folder/go.jpg", "file", b""),
        ("seven.jpg", "file", b""),
        ("d", "folder", None),
        ("é.jpg", "file", b""),
        (r"\xff.jpg", "file", b"ff"),
        ("copy.jpg", "file", b"its"),
        ("none.jpg", "link", None),
    ]


def pax_file(record, size=b"00000000001", kind=b"x"):
    said = header(b"PaxHeaders/a.jpg", size=b"%011o" % len(record), kind=kind) + data(record)
    return said + header(b"a.jpg", size=size) + data(b"a") + END


def test_pax_headers_count_or_are_an_error(tmp_path):
    path = tmp_path / "s.tar"
    for record, name in (
        (b"14 path=b.jpg\n", "b.jpg"),
        (b"8 path=\n", "a.jpg"),
        (b"10 size=1\n", "a.jpg"),
        (b"", "a.jpg"),
    ):
        path.write_bytes(pax_file(record))
        assert listed(path) == [(name, "file", b"a")]
    path.write_bytes(pax_file(b"10 size=1\n", size=b"00000000000"))
    assert listed(path) == [("a.jpg", "file", b"a")]
    path.write_bytes(pax_file(b"14 path=b.jpg\n", kind=b"g")[:-1024] + header(b"c.jpg") + END)
    assert [name for name, *_ in listed(path)] == ["b.jpg", "b.jpg"]  # of all that follow
    for record, sentence in (
        (b"15 path=b.jpg\n", "has a broken pax header at byte 0"),
        (b"path=b.jpg\n", "has a broken pax header at byte 0"),
        (b"10 size=x\n", "has a broken pax header before byte 1024, whose size is 'x'"),
        (b"10 size=2\n", "has two headers before byte 1536 that disagree: 2 and 1 bytes"),
    ):
        path.write_bytes(pax_file(record))
        with pytest.raises(DamagedShard, match=sentence):
            shard_entries(path)
    path.write_bytes(pax_file(b"14 path=b.jpg\n")[:1024] + END)
    with pytest.raises(DamagedShard, match=r"has zeros at byte 1024 where a header should be"):
        shard_entries(path)
    path.write_bytes(header(b"L", kind=b"L", size=b"%011o" % (17 << 20)) + END)
    with pytest.raises(
        DamagedShard, match=r"has a name or pax header of 17825792 bytes at byte 0, where 16777216 are read"
    ):
        shard_entries(path)
