"""A sample that is found by its index and place is the one that reading in order gives."""

import numpy as np
import pytest

from shard_files import FORMATS, opened, read_back, token_samples, written
from vistok.images.tars.blocks import DamagedShard
from vistok.inference.token_shards import parquet_format
from vistok.inference.token_shards.formats import SHARD_FORMATS

pytestmark = pytest.mark.parametrize("name", FORMATS)


@pytest.fixture(params=["ascii", "all"])
def samples(request, tmp_path):
    made = token_samples(tmp_path, count=12)
    return made if request.param == "all" else [each._replace(key=f"k/{row}") for row, each in enumerate(made)]


def test_any_order_gives_what_reading_gives(name, samples, monkeypatch):
    monkeypatch.setattr(parquet_format, "GROUP_ROWS", 5)
    contents = written(name, samples)
    places = list(SHARD_FORMATS[name].scan(opened(contents)))
    assert [key for key, _ in places] == [sample.key for sample in samples]
    read_row = SHARD_FORMATS[name].open_rows(opened(contents))
    whole = read_back(name, contents)
    for row in np.random.default_rng(0).permutation(12):
        sample = read_row(int(row), places[row][1])
        members = {extension: read() for extension, read in sample.companions.items()}
        assert (sample.key, sample.metadata(), members) == (whole[row][0], *whole[row][2:])
        assert np.array_equal(sample.tokens(), whole[row][1])


def test_a_cut_shard_is_not_a_short_one(name, samples):
    contents = written(name, samples)
    for index, content in enumerate(contents):
        end = len(content.rstrip(b"\0")) if name == "wds" else len(content)
        for size in (0, end // 3, end // 2, end - 600, end - 1):
            cut = [*contents[:index], content[: max(0, size)], *contents[index + 1 :]]
            with pytest.raises((ValueError, DamagedShard)):
                list(SHARD_FORMATS[name].scan(opened(cut)))
