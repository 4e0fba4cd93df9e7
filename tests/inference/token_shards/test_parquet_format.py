"""A shard of the format parquet is a table that `datasets`, pandas and duckdb read."""

import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest

from processes import run_python
from shard_files import CONTENTS, read_back, token_samples, written
from vistok.inference.token_shards import parquet_format, parquet_groups
from vistok.inference.token_shards.parquet_rows import schema, table

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def shards(tmp_path):
    """Two shards, and their samples by key."""
    (tmp_path / "tokens").mkdir()
    samples = token_samples(tmp_path, 12)
    for index in range(2):
        content = written("parquet", samples[6 * index : 6 * index + 6])[0]
        (tmp_path / "tokens" / f"{index}.parquet").write_bytes(content)
    return tmp_path / "tokens", {sample.key: sample for sample in samples}


def check(rows, samples):
    """Compare rows of any reader, as plain Python, with the samples."""
    assert [row["key"] for row in rows] == list(samples)
    for row in rows:
        sample = samples[row["key"]]
        assert np.array_equal(np.reshape(row["tokens"], row["grid"]), sample.tokens)
        assert all(row[name] == sample.metadata[name] for name in ("source", "width", "height", "sha256"))
        assert row["view"] == sample.metadata.get("view")
        members = {member["extension"]: bytes(member["content"]) for member in row["members"]}
        assert members == {each.extension: CONTENTS[each.extension] for each in sample.companions}


def test_pyarrow_reads_it(shards):
    folder, samples = shards
    check(parquet.read_table(folder).to_pylist(), samples)


def test_pandas_reads_it(shards):
    pandas = pytest.importorskip("pandas")
    folder, samples = shards
    frame = pandas.concat([pandas.read_parquet(path) for path in sorted(folder.iterdir())])
    check(frame.astype(object).where(frame.notna(), None).to_dict("records"), samples)


def test_duckdb_reads_it(shards):
    duckdb = pytest.importorskip("duckdb")
    folder, samples = shards
    rows = duckdb.sql(f"select * from '{folder}/*.parquet'")
    check([dict(zip(rows.columns, row, strict=True)) for row in rows.fetchall()], samples)
    captions = duckdb.sql(
        f"select decode(list_filter(members, lambda m: m.extension = 'txt')[1].content) from '{folder}/*.parquet'"
    ).fetchall()
    assert captions[:2] == [(None,), (CONTENTS["txt"].decode(),)]


@pytest.mark.filterwarnings("ignore")
def test_datasets_reads_it(shards, tmp_path):
    if importlib.util.find_spec("datasets") is None:
        pytest.skip("needs datasets")
    import datasets

    folder, samples = shards
    files = sorted(map(str, folder.iterdir()))
    loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    check(list(loaded), samples)
    check(list(datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)), samples)


def test_all_shards_have_the_same_columns_and_groups_that_stream(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_format, "GROUP_ROWS", 4)
    samples = token_samples(tmp_path, 10)
    content = written("parquet", samples)[0]
    file = parquet.ParquetFile(io.BytesIO(content))
    assert file.schema_arrow == parquet.ParquetFile(io.BytesIO(written("parquet", [])[0])).schema_arrow
    assert [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)] == [4, 4, 2]
    assert file.metadata.created_by == f"parquet-cpp-arrow version {pa.__version__}"  # what the bytes depend on
    monkeypatch.setattr(parquet_format, "GROUP_BYTES", 1)
    assert parquet.ParquetFile(io.BytesIO(written("parquet", samples)[0])).num_row_groups == 10


def test_tokens_take_little_more_than_their_entropy(tmp_path):
    samples = [
        sample._replace(tokens=np.random.default_rng(index).integers(0, 8192, (1, 32, 32)).astype("uint16"), companions=())
        for index, sample in enumerate(token_samples(tmp_path, 200))
    ]  # fmt: skip
    bits = 8 * len(written("parquet", samples)[0]) / (200 * 32 * 32)
    assert 13 < bits < 15.5


def changed(tmp_path, **columns):
    """A shard of two images with other values in some columns."""
    form = schema("uint16")
    rows = table([(sample, {}) for sample in token_samples(tmp_path, 2)], form)
    for name, values in columns.items():
        rows = rows.set_column(rows.column_names.index(name), form.field(name), pa.array(values, form.field(name).type))
    file = io.BytesIO()
    parquet.write_table(rows, file)
    return [file.getvalue()]


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"key": ["a", None]}, "has no key in row 1"),
        ({"tokens": [None, [1]]}, r"its 0 tokens do not fill its grid, \[2, 3, 4\]"),
        ({"tokens": [[None] * 24, [1]]}, r"its 24 tokens do not fill its grid, \[2, 3, 4\]"),
        ({"grid": [[1, 1, 25], None]}, r"its 24 tokens do not fill its grid, \[1, 1, 25\]"),
        ({"grid": [None, None]}, "its 24 tokens do not fill its grid, None"),
        ({"grid": [[24], [1]]}, r"its 24 tokens do not fill its grid, \[24\]"),
        ({"grid": [[-2, -3, 4], [1]]}, "its 24 tokens do not fill its grid"),
        ({"source": [None, "x"]}, "its metadata is missing or damaged"),
        ({"metadata": ["[1]", None]}, "its metadata is missing or damaged"),
        ({"metadata": ["[" * 100_000, None]}, "its metadata is missing or damaged"),
        ({"width": [None, 1]}, "its metadata has no width and height"),
        ({"members": [[{"extension": "txt", "content": None}], []]}, "a member has no content"),
    ],
)
def test_rows_that_vistok_did_not_write_are_a_sentence(columns, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        read_back("parquet", changed(tmp_path, **columns))


def test_members_that_are_missing_are_none(tmp_path):
    assert [row[3] for row in read_back("parquet", changed(tmp_path, members=[None, [None]]))] == [{}, {}]


def test_other_tables_and_files_are_a_sentence(tmp_path, monkeypatch):
    file = io.BytesIO()
    parquet.write_table(pa.table({"key": ["a"]}), file)
    with pytest.raises(ValueError, match="^is not a table of tokens that vistok wrote$"):
        read_back("parquet", [file.getvalue()])
    with pytest.raises(
        ValueError, match=r"^is not a parquet file, or damaged \(Parquet magic bytes not found in footer"
    ):
        read_back("parquet", [b"12345678" * 9])
    monkeypatch.setattr(parquet_groups, "MAX_VALUES", 23)
    with pytest.raises(ValueError, match="^has a group of rows with 56 values, more than any that vistok writes$"):
        read_back("parquet", changed(tmp_path))


def test_an_error_of_reading_is_no_damage(tmp_path):
    class Failing(io.BytesIO):
        def read(self, *arguments):
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        list(parquet_format.ParquetFormat().read([Failing(written("parquet", token_samples(tmp_path))[0])]))


READING = """
import os, sys
import pyarrow.parquet
from vistok.inference.inputs.companions import KEEP_ALL
from vistok.inference.inputs.parquet_samples import ParquetSource
from vistok.inference.token_shards.formats import SHARD_FORMATS

shard, images = sys.argv[1:]
before = len(os.listdir("/proc/self/task"))
with open(shard, "rb") as file:
    for sample in SHARD_FORMATS["parquet"].read([file]):
        sample.tokens(), [read() for read in sample.companions.values()]
    list(SHARD_FORMATS["parquet"].scan([file]))
    SHARD_FORMATS["parquet"].open_rows([file])(3, 0)
for sample in ParquetSource(images, "s", KEEP_ALL).list_samples().samples:
    sample.entry.read(), [companion.open().read() for companion in sample.companions]
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads of libraries are counted in /proc")
def test_no_thread_of_pyarrow_reads(shards, tmp_path):
    """One that lets go of what it read while Python ends aborts the process, in one run of some dozens."""
    columns = {"image": [b"x"] * 40, "caption": ["a" * (1 << 15)] * 40, "label": [1] * 40}
    parquet.write_table(pa.table(columns), tmp_path / "images.parquet", row_group_size=10)
    done = run_python("-c", READING, str(shards[0] / "0.parquet"), str(tmp_path / "images.parquet"))
    assert (done.stdout, done.returncode) == ("0\n", 0), done.stderr
