"""A damaged tar is an error, never a short one."""

import os
import random
import tarfile
from collections import Counter

import pytest

from tars import BLOCK, FORMATS, contents, data, shard_entries, write_tar
from vistok.images.tars.blocks import DamagedShard
from vistok.images.tars.members import tar_members


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
            r"has a broken header at byte 7168 \(after 01",
        ),
        (
            lambda good: good[:THIRD] + bytes(len(good) - THIRD),
            r"has 23552 zeros from byte 7168 \(after 01.jpg\) on, where a tar ends with fewer than 11264 \(a download that",
        ),
        (
            lambda good: good[:THIRD] + bytes(1024) + good[THIRD + 1024 :],
            r"has zeros at byte 7168 \(after 01.jpg\) where a header should be, and data from byte 8192 on",
        ),
        (lambda good: good[:THIRD], r"is cut off at byte 7168 \(after 01.jpg\), before the end mark of a tar"),
        (lambda good: good[: THIRD + 200], r"is cut off within the header at byte 7168 \(after 01.jpg\)"),
        (lambda good: good[: THIRD + 1512], r"is cut off within 02.jpg, after 1000 of its 3000 bytes"),
        (lambda good: good[: THIRD + 3550], r"is cut off at byte 10718 \(after 02.jpg\), before the end mark"),
        (lambda good: good[: LAST + 1000], r"is cut off within the end mark at byte 21504 \(after 05.jpg\)"),
        (
            lambda good: good + good,
            r"continues at byte 30720, after its end mark at byte 21504: if two tars were joined, give",
        ),
        (lambda good: good + b"x", r"has zeros at byte 21504 \(after 05.jpg\) where a .* data from byte 30720 on"),
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
        shard_entries(six)


def test_only_zeros_of_a_last_record_may_follow_the_end(six):
    end = six.read_bytes()[:LAST]
    for zeros in (1024, 1025, 10240 + 1023):
        six.write_bytes(end + bytes(zeros))
        assert len(shard_entries(six)) == 6
    six.write_bytes(end + bytes(1024 + 10240))
    with pytest.raises(DamagedShard, match=r"has 11264 zeros"):
        shard_entries(six)
    six.write_bytes(bytes(10240))
    assert shard_entries(six) == []


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
                index = chance.choice([start, behind - BLOCK]) + chance.randrange(BLOCK)
                yield good[:index] + bytes([good[index] ^ 1 << chance.randrange(8)]) + good[index + 1 :]

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


def test_errors_of_reading_are_not_damage(tmp_path, six):
    with pytest.raises(FileNotFoundError):
        shard_entries(tmp_path / "gone.tar")
    with pytest.raises(IsADirectoryError):
        shard_entries(tmp_path)
    os.mkfifo(tmp_path / "pipe.tar")
    with pytest.raises(OSError, match="is a fifo, not a file"):
        shard_entries(tmp_path / "pipe.tar")
    members = tar_members(str(six))
    next(members)
    os.truncate(six, 600)
    with pytest.raises(OSError, match="the file is shorter than it was"):
        list(members)
