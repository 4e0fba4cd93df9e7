"""Tars by hand, so that what is wrong with each is known; `tarfile` writes them and nothing here reads with it."""

import io
import os
import random
import shutil
import subprocess
import tarfile
from collections import Counter

import pytest

from vistok.images.finding.index import DamagedShard, shard_entries, tar_members

BLOCK = 512
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def write_tar(path, members, form=tarfile.GNU_FORMAT, **general):
    """Members: (name, content), or (name, target, type)."""
    with tarfile.open(path, "w", format=form, **general) as tar:
        for name, content, *kind in members:
            info = tarfile.TarInfo(name)
            if kind:
                info.type, info.linkname = kind[0], content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def header(name=b"a.jpg", size=b"00000000000", kind=b"0", magic=b"ustar\x0000", prefix=b"", rest=b"", signed=False):
    """A header block, field by field."""
    block = bytearray(BLOCK)
    fields = ((0, name), (100, b"0000644"), (124, size), (156, kind), (257, magic), (345, prefix), (386, rest))
    for place, field in fields:
        block[place : place + len(field)] = field
    block[148:156] = b" " * 8
    total = sum(block) - 256 * (sum(byte > 127 for byte in block) if signed else 0)
    block[148:156] = b"%06o\0 " % total
    return bytes(block)


def data(content):
    return content + bytes(-len(content) % BLOCK)


END = bytes(2 * BLOCK)


def listed(path):
    return [(member.name, member.kind, member.entry and member.entry.read()) for member in tar_members(str(path))]


def contents(path):
    return [(member.name, member.entry.read()) for member in tar_members(str(path)) if member.entry]


def problems(path):
    return {member.name: member.problem for member in tar_members(str(path))}


@pytest.fixture
def six(tmp_path):
    return write_tar(tmp_path / "s.tar", [(f"{number:02d}.jpg", bytes([65 + number]) * 3000) for number in range(6)])


# 512 for a header and 3072 for 3000 bytes
SECOND, THIRD, LAST = 3584, 2 * 3584, 6 * 3584


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda good: good[:THIRD] + b"\xff" * 512 + good[THIRD + 512 :],
            r"has a broken header at byte 7168 \(behind 01",
        ),
        (
            lambda good: good[:THIRD] + bytes(len(good) - THIRD),
            r"has 23552 zeros from byte 7168 \(behind 01.jpg\) on, where a tar ends with fewer than 11264 \(a download that",
        ),
        (
            lambda good: good[:THIRD] + bytes(1024) + good[THIRD + 1024 :],
            r"has zeros at byte 7168 \(behind 01.jpg\) where a header should be, and data from byte 8192 on",
        ),
        (lambda good: good[:THIRD], r"is cut off at byte 7168 \(behind 01.jpg\), before the end mark of a tar"),
        (lambda good: good[: THIRD + 200], r"is cut off within the header at byte 7168 \(behind 01.jpg\)"),
        (lambda good: good[: THIRD + 1512], r"is cut off within 02.jpg, of whose 3000 bytes it has 1000"),
        (lambda good: good[: THIRD + 3550], r"is cut off at byte 10718 \(behind 02.jpg\), before the end mark"),
        (lambda good: good[: LAST + 1000], r"is cut off within the end mark at byte 21504 \(behind 05.jpg\)"),
        (
            lambda good: good + good,
            r"goes on at byte 30720, behind its end mark at byte 21504: if two tars were joined, give",
        ),
        (lambda good: good + b"x", r"has zeros at byte 21504 \(behind 05.jpg\) where a .* data from byte 30720 on"),
        (lambda good: b"", r"is empty, not a tar"),
        (lambda good: b"not a tar" * 200, r"does not begin with a valid header of a tar"),
        (lambda good: b"no", r"does not begin with a valid header of a tar"),
        (lambda good: b"\x1f\x8b" + good, r"is compressed with gzip, not a plain tar: unpack or "),
        (lambda good: b"\x28\xb5\x2f\xfd" + good, r"is compressed with zstd, not a plain tar"),
    ],
)
def test_a_damaged_tar_is_a_sentence_and_never_a_short_list(six, change, sentence):
    six.write_bytes(change(six.read_bytes()))
    with pytest.raises(DamagedShard, match=rf"^{six} {sentence}.*leave it out\.$"):
        shard_entries(str(six))


def test_only_zeros_of_a_last_record_may_follow_the_end(six):
    end = six.read_bytes()[:LAST]
    for zeros in (1024, 1025, 10240 + 1023):
        six.write_bytes(end + bytes(zeros))
        assert len(shard_entries(str(six))) == 6
    six.write_bytes(end + bytes(1024 + 10240))
    with pytest.raises(DamagedShard, match=r"has 11264 zeros"):
        shard_entries(str(six))
    six.write_bytes(bytes(10240))
    assert shard_entries(str(six)) == []


def test_members_are_listed_before_the_tar_is_read_to_its_end(six):
    six.write_bytes(six.read_bytes()[:THIRD])
    members = tar_members(str(six))
    assert [next(members).name, next(members).name] == ["00.jpg", "01.jpg"]
    with pytest.raises(DamagedShard):
        next(members)


@pytest.mark.parametrize("form", FORMATS)
def test_whatever_happens_to_a_tar_nothing_is_lost_in_silence(tmp_path, form):
    chance = random.Random(form)
    names = ["00.jpg", "d/é.png", "d/" * 60 + "deep.jpg", "x" * 99 + ".jpg", "last.jpg"]
    names = [name for name in names if form != "ustar" or len(name.rsplit("/")[-1]) <= 100]
    members = [(name, chance.randbytes(chance.choice([1, 511, 512, 513, 2000]))) for name in names]
    members.insert(2, ("link.jpg", names[0], tarfile.LNKTYPE))
    path = write_tar(tmp_path / "s.tar", members, FORMATS[form])
    good, whole = path.read_bytes(), contents(path)
    assert [name for name, _ in whole] == [name for name, *_ in members]
    with tarfile.open(path) as tar:
        spans = [(member.offset, member.offset_data) for member in tar]
    end = spans[-1][1] + len(data(members[-1][1]))
    assert any(good[end - BLOCK : end]) and not any(good[end:])

    def changed():
        for cut in [*range(0, end + 1024, BLOCK), *(chance.randrange(end + 1024) for _ in range(20))]:
            yield good[:cut]
            yield good[:cut] + bytes(20480 + len(good) - cut)
        for start, behind in spans:
            yield good[:start] + bytes(BLOCK) + good[start + BLOCK :]
            for _ in range(10):  # not in the data of long names and pax headers, of which no checksum speaks
                place = chance.choice([start, behind - BLOCK]) + chance.randrange(BLOCK)
                yield good[:place] + bytes([good[place] ^ 1 << chance.randrange(8)]) + good[place + 1 :]

    outcomes = Counter()
    for content in changed():
        path.write_bytes(content)
        try:
            assert contents(path) == whole
            outcomes["whole"] += 1
        except DamagedShard as error:
            assert str(error).startswith(f"{path} ")
            outcomes["damaged"] += 1
    assert outcomes["damaged"] > 100 and outcomes["whole"] < 10  # some bits of a checksum's last bytes do not count


@pytest.mark.parametrize("form", FORMATS)
def test_links_have_the_bytes_of_the_file_that_they_lead_to(tmp_path, form):
    path = write_tar(
        tmp_path / "s.tar",
        [
            ("a.jpg", b"first"),
            ("hard.jpg", "a.jpg", tarfile.LNKTYPE),
            ("early.jpg", "./sub/../late.jpg", tarfile.SYMTYPE),
            ("sub", "", tarfile.DIRTYPE),
            ("sub/b.jpg", b"b"),
            ("sub/up.jpg", "../a.jpg", tarfile.SYMTYPE),
            ("chain.jpg", "sub/up.jpg", tarfile.SYMTYPE),
            ("second.jpg", "chain.jpg", tarfile.LNKTYPE),
            ("folder", "sub", tarfile.SYMTYPE),
            ("through.jpg", "folder/../folder/b.jpg", tarfile.SYMTYPE),
            ("a.jpg", b"newest"),
            ("newer.jpg", "a.jpg", tarfile.LNKTYPE),
            ("late.jpg", b"late"),
            ("ahead.jpg", "end.jpg", tarfile.LNKTYPE),
            ("end.jpg", b"end"),
        ],
        FORMATS[form],
    )
    assert listed(path) == [
        ("a.jpg", "file", b"first"),
        ("hard.jpg", "link", b"first"),
        ("early.jpg", "link", b"late"),
        ("sub", "folder", None),
        ("sub/b.jpg", "file", b"b"),
        ("sub/up.jpg", "link", b"newest"),  # as when all is unpacked
        ("chain.jpg", "link", b"newest"),
        ("second.jpg", "link", b"newest"),
        ("folder", "folder", None),
        ("through.jpg", "link", b"b"),
        ("a.jpg", "file", b"newest"),
        ("newer.jpg", "link", b"newest"),
        ("late.jpg", "file", b"late"),
        ("ahead.jpg", "link", b"end"),
        ("end.jpg", "file", b"end"),
    ]
    assert [entry.name for entry in shard_entries(str(path))][:3] == ["a.jpg", "hard.jpg", "early.jpg"]


def test_links_that_lead_nowhere_say_so(tmp_path):
    path = write_tar(
        tmp_path / "s.tar",
        [
            ("pipe", "", tarfile.FIFOTYPE),
            ("far.jpg", "../x.jpg", tarfile.SYMTYPE),
            ("gone.jpg", "x.jpg", tarfile.LNKTYPE),
            ("root.jpg", "/d/a.jpg", tarfile.SYMTYPE),
            ("one.jpg", "two.jpg", tarfile.SYMTYPE),
            ("two.jpg", "one.jpg", tarfile.SYMTYPE),
            ("self.jpg", "self.jpg", tarfile.LNKTYPE),
            ("to-pipe.jpg", "pipe", tarfile.SYMTYPE),
            ("d/a.jpg", b"a"),
            ("unnamed", "d", tarfile.SYMTYPE),
            ("here", ".", tarfile.SYMTYPE),
            ("below.jpg", "d/a.jpg/b.jpg", tarfile.SYMTYPE),
        ],
    )
    assert problems(path) == {
        "pipe": "is a fifo, not a file",
        "far.jpg": "is a link to ../x.jpg, which is not in the shard",
        "gone.jpg": "is a link to x.jpg, which is not in the shard",
        "root.jpg": "is a link to /d/a.jpg, which is not in the shard",
        "one.jpg": "is a link to two.jpg, which leads back to itself",
        "two.jpg": "is a link to one.jpg, which leads back to itself",
        "self.jpg": "is a link to self.jpg, which leads back to itself",
        "to-pipe.jpg": "is a link to pipe, which is a fifo, not a file",
        "d/a.jpg": "",
        "unnamed": "",
        "here": "",
        "below.jpg": "is a link to d/a.jpg/b.jpg, which is not in the shard",
    }
    assert {kind for name, kind, _ in listed(path) if name in ("unnamed", "here")} == {"folder"}


def test_what_is_no_file_says_what_it_is(tmp_path):
    path = tmp_path / "s.tar"
    kinds = [b"3", b"4", b"6", b"V", b"M", b"Q", b"7", b"5", b"S"]
    minus_five = b"\xff" * 11 + b"\xfb"
    path.write_bytes(
        b"".join(header(b"%c.jpg" % kind, kind=kind) for kind in kinds) + header(b"minus.jpg", size=minus_five) + END
    )
    assert [(member.kind, member.problem, member.entry is not None) for member in tar_members(str(path))] == [
        ("device", "is a device, not a file", False),
        ("device", "is a device, not a file", False),
        ("fifo", "is a fifo, not a file", False),
        ("volume label", "is the label of a volume, not a file", False),
        ("part of a file", "is a part of a file that another volume begins", False),
        ("unknown", "is of the unknown type 'Q', not a file", False),
        ("file", "", True),
        ("folder", "", False),
        ("sparse file", "is a sparse file, whose holes are not in the shard: pack it without --sparse", False),
        ("file", "has a size of -5 bytes", False),
    ]
    path.write_bytes(header(size=b"\x80" + bytes(3) + b"\x10" + bytes(7)) + END)
    with pytest.raises(DamagedShard, match=r"is cut off within a.jpg, of whose 1152921504606846976 bytes it has 1024"):
        shard_entries(str(path))


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
        shard_entries(str(path))
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
            shard_entries(str(path))
    path.write_bytes(pax_file(b"14 path=b.jpg\n")[:1024] + END)
    with pytest.raises(DamagedShard, match=r"has zeros at byte 1024 where a header should be"):
        shard_entries(str(path))
    path.write_bytes(header(b"L", kind=b"L", size=b"%011o" % (17 << 20)) + END)
    with pytest.raises(
        DamagedShard, match=r"has a name or pax header of 17825792 bytes at byte 0, where 16777216 are read"
    ):
        shard_entries(str(path))


def test_errors_of_reading_are_not_damage(tmp_path, six):
    with pytest.raises(FileNotFoundError):
        shard_entries(str(tmp_path / "gone.tar"))
    with pytest.raises(IsADirectoryError):
        shard_entries(str(tmp_path))
    os.mkfifo(tmp_path / "pipe.tar")
    with pytest.raises(OSError, match="is a fifo, not a file"):
        shard_entries(str(tmp_path / "pipe.tar"))
    members = tar_members(str(six))
    next(members)
    os.truncate(six, 600)
    with pytest.raises(OSError, match="the file is shorter than it was"):
        list(members)


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs tar")
def test_what_tar_makes_of_a_folder(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"a")
    os.link(folder / "a.jpg", folder / "b.jpg")
    (folder / "c.jpg").symlink_to("a.jpg")
    (folder / ("x" * 150 + ".jpg")).write_bytes(b"x")
    subprocess.run(["tar", "-cf", tmp_path / "s.tar", "-C", folder, "."], check=True)
    found = {name: content for name, kind, content in listed(tmp_path / "s.tar") if kind != "folder"}
    assert found == {"./a.jpg": b"a", "./b.jpg": b"a", "./c.jpg": b"a", f"./{'x' * 150}.jpg": b"x"}


def test_a_link_leads_to_a_member_whose_name_begins_with_a_slash(tmp_path):
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w") as tar:
        image = tarfile.TarInfo("/abs/a.png")
        image.size = 5
        tar.addfile(image, io.BytesIO(b"bytes"))
        for name, target in (("x/link.png", "../abs/a.png"), ("/abs/beside.png", "a.png")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
    assert [member.entry.read() for member in tar_members(str(path))] == [b"bytes"] * 3
