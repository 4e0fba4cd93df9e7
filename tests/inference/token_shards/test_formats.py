"""What holds for the shards of every format: they come back whole, depend on the samples alone, and damage is a sentence."""

import numpy as np
import pytest

from shard_files import CONTENTS, FORMATS, opened, read_back, token_samples, written
from vistok.images.file_entry import Entry
from vistok.images.tars.blocks import DamagedShard
from vistok.inference.inputs.samples import Companion
from vistok.inference.token_shards import members
from vistok.inference.token_shards.formats import SHARD_FORMATS

pytestmark = pytest.mark.parametrize("name", FORMATS)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_all_that_a_sample_has_comes_back(name, dtype, tmp_path):
    high = {"uint32": 1 << 31, "uint64": 1 << 40}.get(dtype, 200)
    samples = token_samples(tmp_path, dtype=dtype, high=high)
    back = read_back(name, written(name, iter(samples)))
    assert len(back) == len(samples)
    for sample, (key, tokens, metadata, companions) in zip(samples, back, strict=True):
        assert (key, metadata) == (sample.key, sample.metadata)
        assert tokens.dtype == sample.tokens.dtype and np.array_equal(tokens, sample.tokens)
        assert companions == {each.extension: CONTENTS[each.extension] for each in sample.companions}


def test_the_bytes_depend_on_the_samples_alone(name, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    contents = written(name, token_samples(tmp_path / "a"))
    assert written(name, token_samples(tmp_path / "b")) == contents
    assert written(name, token_samples(tmp_path / "a", seed=1)) != contents
    # What was read back, as resuming takes it over, is written as the same bytes.
    samples = token_samples(tmp_path / "a")
    taken_over = [
        sample._replace(tokens=tokens, metadata=metadata)
        for sample, (_, tokens, metadata, _) in zip(samples, read_back(name, contents), strict=True)
    ]
    assert written(name, taken_over) == contents


def test_a_shard_without_images_is_a_shard(name):
    contents = written(name, [])
    assert read_back(name, contents) == [] and written(name, []) == contents


def test_own_shards_are_recognised_and_others_are_not(name, tmp_path):
    shard_format = SHARD_FORMATS[name]
    contents = written(name, token_samples(tmp_path))
    assert shard_format.is_own(opened(contents)) is True
    assert shard_format.is_own([None] * len(contents)) is None
    # The files are put in their places from the last to the first, and a kill may come in between.
    for count in range(1, len(contents)):
        assert shard_format.is_own(opened([None] * count + contents[count:])) is True
        assert shard_format.is_own(opened([b"older"] * count + contents[count:])) is True
        assert shard_format.is_own(opened(contents[:count] + [None] * (len(contents) - count))) is False
    for damaged in (b"", b"\0" * 4096):
        assert shard_format.is_own(opened([*contents[:-1], damaged])) is None


def test_cut_shards_are_a_sentence(name, tmp_path):
    contents = written(name, token_samples(tmp_path))
    for index, content in enumerate(contents):
        end = len(content.rstrip(b"\0")) if name == "wds" else len(content)  # a tar may lose some of its zeros
        for size in sorted({0, 1, 9, end // 3, end - 9, end - 1}):
            with pytest.raises((ValueError, DamagedShard)) as raised:
                read_back(name, [*contents[:index], content[:size], *contents[index + 1 :]])
            assert "\n" not in str(raised.value) and 10 < len(str(raised.value)) < 250


def test_flipped_bits_are_read_as_something_or_a_sentence(name, tmp_path):
    contents = written(name, token_samples(tmp_path))
    generator = np.random.default_rng(0)
    for _ in range(150):
        index = int(generator.integers(len(contents)))
        content = bytearray(contents[index])
        content[generator.integers(len(content))] ^= 1 << generator.integers(8)
        try:
            read_back(name, [*contents[:index], bytes(content), *contents[index + 1 :]])
        except (ValueError, DamagedShard) as error:
            assert "\n" not in str(error)


def test_files_of_others_are_a_sentence(name, tmp_path):
    number = len(SHARD_FORMATS[name].suffixes)
    for content in (b"PK\x03\x04" * 100, b'{"text": "mine"}\n', b"PAR1" * 100, b"\x7fELF" + b"\0" * 2000):
        with pytest.raises((ValueError, DamagedShard)):
            read_back(name, [content] * number)
        assert SHARD_FORMATS[name].is_own(opened([content] * number)) in (False, None)


def test_samples_are_written_and_read_one_after_another(name, tmp_path):
    samples = token_samples(tmp_path, count=1200)
    shard_format = SHARD_FORMATS[name]
    files = opened([b""] * len(shard_format.suffixes))
    sizes = []

    def given():
        for sample in samples:
            sizes.append(files[0].tell())
            yield sample

    shard_format.write(files, given())
    assert 0 < sizes[1001] < len(files[0].getvalue())
    contents = [file.getvalue() for file in files]
    files = opened(contents)
    reading = shard_format.read(files)
    next(reading).tokens()
    read = files[0].tell()
    assert sum(1 for _ in reading) == 1199
    assert name == "parquet" or read < len(contents[0]) // 2  # which reads its footer first


def test_a_companion_too_large_for_a_row_is_a_sentence(name, tmp_path, monkeypatch):
    (tmp_path / "x.txt").write_bytes(b"x" * 100)
    sample = token_samples(tmp_path, 1)[0]
    sample = sample._replace(companions=[Companion("txt", Entry(str(tmp_path / "x.txt"), 0, 100, "x.txt"))])
    monkeypatch.setattr(members, "MAX_MEMBER", 99)
    if name == "wds":
        assert read_back(name, written(name, [sample]))[0][3] == {"txt": b"x" * 100}
        return
    sentence = (
        "x.txt has 100 bytes, but only --format wds keeps files of more than 99 beside an image: use it, or leave"
    )
    with pytest.raises(ValueError, match=sentence):
        written(name, [sample])
