"""TokenDataset gives back what was written, by index and key, from every format and in other processes."""

import json
import pickle
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import vistok
from shard_files import FORMATS
from token_folders import (
    CODEBOOKS,
    FINGERPRINT,
    ROWS,
    VOCAB_SIZE,
    samples_of,
    seal,
    write_folder,
    write_shard,
    write_totals,
)
from vistok.images.tars.blocks import DamagedShard
from vistok.inference.token_dataset import open_shards
from vistok.inference.token_shards.formats import SHARD_FORMATS, shard_files
from vistok.inference.token_shards.token_samples import StoredSample

each_format = pytest.mark.parametrize("form", FORMATS)
EXPECTED = [(shard, row) for shard, count in enumerate(ROWS) for row in range(count)]
WRITTEN = [sample for shard, count in enumerate(ROWS) for sample in samples_of(shard, count)]


def check(row, shard, number):
    """Compare a row with what `token_folders` writes."""
    sample = samples_of(shard, number + 1)[number]
    assert row.tokens.dtype == torch.int64 and np.array_equal(row.tokens, sample.tokens)
    assert (row.grid, row.key, row.source) == ((2, 3), sample.key, sample.metadata["source"])
    assert row.metadata == sample.metadata
    assert row.members == ({"txt": f"caption {shard} {number}".encode()} if number % 2 == 0 else {})


@each_format
def test_every_row_comes_back_in_any_order(form, tmp_path):
    dataset = vistok.TokenDataset(write_folder(tmp_path / "t", form))
    assert len(dataset) == len(EXPECTED) == 19
    for index in np.random.default_rng(0).permutation(19):
        check(dataset[index], *EXPECTED[index])
        check(dataset[int(index) - 19], *EXPECTED[index])
        check(dataset[WRITTEN[index].key], *EXPECTED[index])
    assert [row.key for row in dataset] == [sample.key for sample in WRITTEN]
    batch = dataset.__getitems__([7, 0, 7])
    assert [row.key for row in batch] == [WRITTEN[7].key, WRITTEN[0].key, WRITTEN[7].key]
    assert (dataset.manifest.vocab_size, dataset.manifest.num_codebooks) == (VOCAB_SIZE, CODEBOOKS)
    assert repr(dataset) == f"TokenDataset({tmp_path / 't'}, 19 rows in 5 shards, {form})"
    assert dataset.shard_of(5).startswith("shard-2")


@each_format
def test_rows_that_are_not_there(form, tmp_path):
    dataset = vistok.TokenDataset(write_folder(tmp_path / "t", form, (2, 1)))
    for index in (3, -4):
        with pytest.raises(IndexError, match=f"row {index} was asked for, but .* has 3 rows"):
            dataset[index]
    with pytest.raises(KeyError, match="has no row with the key 'x'"):
        dataset["x"]
    assert "x" not in dataset and 0 not in dataset and "s1/é0" in dataset
    with pytest.raises(TypeError):
        dataset[0.5]


def test_a_key_of_several_rows_is_asked_for_by_index(tmp_path):
    folder = write_folder(tmp_path / "t", "wds", (2,))
    shutil.copy(folder / "shard-0.tar", folder / "shard-1.tar")
    seal(folder, "shard-1.tar", 2)
    write_totals(folder, "wds")
    dataset = vistok.TokenDataset(folder)
    assert dataset.rows_of("s0/é1") == [1, 3]
    with pytest.raises(KeyError, match=r"2 rows have the key 's0/é1' \(in shard-0.tar, shard-1.tar\): ask for one by"):
        dataset["s0/é1"]


@each_format
def test_members_are_read_as_wanted(form, tmp_path):
    folder = write_folder(tmp_path / "t", form, (2,))
    assert vistok.TokenDataset(folder, members=[".txt"])[0].members == {"txt": b"caption 0 0"}
    assert vistok.TokenDataset(folder, members=["json"])[0].members == {}
    with pytest.raises(
        ValueError, match=r"members is 'txt', but must be 'all' or a list of extensions such as \['txt'\]"
    ):
        vistok.TokenDataset(folder, members="txt")


def test_shards_are_read_again_after_others_were_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(open_shards, "MAX_OPEN", 2)
    dataset = vistok.TokenDataset(write_folder(tmp_path / "t", "megatron"))
    for index in (0, 18, 6, 14, 0, 6, 18):
        check(dataset[index], *EXPECTED[index])
    assert len(dataset._shards._open) == 2


@each_format
def test_it_pickles_with_its_index_and_without_open_files(form, tmp_path):
    folder = write_folder(tmp_path / "t", form)
    dataset = vistok.TokenDataset(str(folder)).build_index()
    check(dataset[9], *EXPECTED[9])
    again = pickle.loads(pickle.dumps(dataset))
    assert set(again._indices) == set(range(5)) and not again._shards._open
    check(again[9], *EXPECTED[9])
    assert sum(index.places.nbytes + index.hashes.nbytes for index in again._indices.values()) <= 12 * len(again)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_rows_at_random(method, tmp_path):
    folder = write_folder(tmp_path / "t", "wds")
    dataset = vistok.TokenDataset(folder)
    check(dataset[0], *EXPECTED[0])  # whose open file the workers must not share
    workers = 2 if method == "fork" else 1
    loader = DataLoader(
        dataset, 4, shuffle=True, num_workers=workers, multiprocessing_context=method, collate_fn=dataset.collate
    )
    batches = list(loader)
    assert sorted(key for batch in batches for key in batch.keys) == sorted(sample.key for sample in WRITTEN)
    assert batches[0].tokens.shape == (4, CODEBOOKS, 2, 3) and batches[0].tokens.dtype == torch.int64
    for batch in batches:
        for key, tokens in zip(batch.keys, batch.tokens, strict=True):
            assert torch.equal(tokens, dataset[key].tokens)


def test_a_batch_has_one_grid(tmp_path):
    folder = write_folder(tmp_path / "t", "wds", (1,))
    write_shard(folder, "wds", "z", samples_of(9, 1, grid=(4, 5)))
    write_totals(folder, "wds")
    dataset = vistok.TokenDataset(folder)
    assert dataset.collate([dataset[0], dataset[0]]).tokens.shape == (2, CODEBOOKS, 2, 3)
    sentence = r"A batch holds grids of \(2, 3\) and \(4, 5\) tokens, which are not one tensor: give a collate_fn"
    with pytest.raises(ValueError, match=sentence):
        dataset.collate([dataset[0], dataset[1]])


def test_a_folder_behind_a_url(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    folder = write_folder(tmp_path / "t", "wds", (3, 2))
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/tokens-of-a-test", recursive=True)
    dataset = vistok.TokenDataset("memory://tokens-of-a-test")
    assert [row.key for row in dataset.stream()] == [row.key for row in vistok.TokenDataset(folder)]
    assert dataset["s1/é1"].source == "1/1.png"
    memory.rm("/tokens-of-a-test", recursive=True)


@pytest.mark.parametrize("tells", [True, False])
def test_a_folder_on_a_web_server(tmp_path, monkeypatch, tells):
    """A page of links says no sizes; a server that compresses what it sends says none at all."""
    pytest.importorskip("aiohttp", reason="http:// needs aiohttp")
    folder = write_folder(tmp_path / "t", "wds", (3, 2))

    class Files(SimpleHTTPRequestHandler):
        def send_header(self, name, value):
            if tells or name != "Content-Length":
                super().send_header(name, value)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        dataset = vistok.TokenDataset(f"http://127.0.0.1:{server.server_port}/t")
        assert len(dataset) == 5
        if not tells:  # then a file is read whole; this server gives no parts
            assert [row.key for row in dataset.stream()] == [row.key for row in vistok.TokenDataset(folder)]
        server.shutdown()
        thread.join()


class Lines:
    """A format that cannot seek."""

    suffixes = (".lines",)

    def require(self):
        pass

    def write(self, files, samples):
        for sample in samples:
            row = [sample.key, sample.tokens.tolist(), sample.metadata]
            files[0].write(json.dumps(row).encode() + b"\n")

    def read(self, files):
        for line in files[0]:
            key, tokens, metadata = json.loads(line)
            yield StoredSample(key, lambda: np.array(tokens, np.uint16), lambda: metadata)  # noqa: B023

    def is_own(self, files):
        return True


def test_a_format_that_cannot_seek_is_read_from_the_beginning(tmp_path, monkeypatch):
    monkeypatch.setitem(SHARD_FORMATS, "lines", Lines())
    dataset = vistok.TokenDataset(write_folder(tmp_path / "t", "lines", captions=False))
    for index in (3, 4, 1, 18, 0, 7):
        assert dataset[index].key == WRITTEN[index].key
    assert dataset["s2/é8"].source == "2/8.png"
    assert [row.key for row in dataset.stream()] == [sample.key for sample in WRITTEN]


def damaged_folders(folder, form):
    """Damage a folder in each way that its files show; yield what is wrong, and the rows that are left."""
    names = shard_files(f"shard-2{SHARD_FORMATS[form].suffixes[0]}", SHARD_FORMATS[form])
    whole = {name: (folder / name).read_bytes() for name in [*names, "shard-2.json"]}
    for name in names:
        (folder / name).write_bytes(whole[name][:-7])
        yield f"{names[0]} is cut or was changed: {name} has", 10
        (folder / name).unlink()
        yield f"{names[0]} is not there with all its files: {name} is missing", 10
        (folder / name).write_bytes(whole[name])
    (folder / "shard-2.json").unlink()
    yield f"{names[0]} has no sidecar", 10
    seal(folder, names[0], 9, fingerprint="0" * 64)
    yield f"{names[0]} holds tokens of another tokenizer than hf://someone/something (000000000000)", 10
    (folder / "shard-2.json").write_bytes(whole["shard-2.json"])
    write_shard(folder, form, "shard-9", [])
    yield "manifest.json counts 5 shards, but 6 are there", 19
    write_totals(folder, form, has_ended=False)
    yield "manifest.json is of a tokenize-images command that has not ended, so shards may be missing", 19


@each_format
def test_a_folder_that_is_not_whole_is_a_sentence_or_left_out(form, tmp_path):
    folder = write_folder(tmp_path / "t", form)
    for what, left in damaged_folders(folder, form):
        with pytest.raises(ValueError) as raised:
            vistok.TokenDataset(folder)
        said = str(raised.value)
        assert said.startswith(f"{folder} is not whole: {what}") and "\n" not in said
        assert said.endswith("skip_incomplete=True; verify-tokens lists all problems.")
        dataset = vistok.TokenDataset(folder, skip_incomplete=True)
        assert len(dataset) == left == len(list(dataset.stream())) and what in dataset.left_out[0]


def test_what_is_no_folder_of_tokens_is_a_sentence(tmp_path):
    for path, what in (("missing", "does not exist"), ("file", "is a file")):
        (tmp_path / "file").write_text("")
        with pytest.raises(ValueError, match=f"{tmp_path / path} {what}: give a folder that tokenize-images wrote."):
            vistok.TokenDataset(tmp_path / path)
    with pytest.raises(ValueError, match=r"has no manifest.json: give a folder that tokenize-images wrote."):
        vistok.TokenDataset(tmp_path)
    write_totals(tmp_path, "wds")
    with pytest.raises(ValueError, match="holds no whole token shard: run its tokenize-images command first."):
        vistok.TokenDataset(tmp_path)
    write_shard(tmp_path, "megatron", "a", samples_of(0, 1))
    write_totals(tmp_path, "wds")
    with pytest.raises(ValueError, match="a.bin is not of the format wds, which manifest.json names"):
        vistok.TokenDataset(tmp_path)


@each_format
def test_a_damaged_row_is_a_sentence(form, tmp_path):
    folder = tmp_path / "t"
    write_folder(folder, form, (2,))
    samples = samples_of(1, 3)
    samples[1].tokens[1, 1, 1] = VOCAB_SIZE
    samples[2] = samples[2]._replace(tokens=samples[2].tokens[:1])
    write_shard(folder, form, "bad", samples)
    write_shard(folder, form, "miscounted", samples_of(2, 3), images=4)
    write_totals(folder, form)
    dataset = vistok.TokenDataset(folder)
    assert dataset[0].key == "s1/é0"  # `bad` comes first
    with pytest.raises(DamagedShard, match=r"/bad.*: s1/é1: a token is 300, but the codes are 0 to 299; verify-tokens"):
        dataset[1]
    with pytest.raises(DamagedShard, match="s1/é2: its tokens have 1 codebooks, not 2"):
        dataset[2]
    with pytest.raises(DamagedShard, match="holds 3 rows, but its sidecar counts 4: run verify-tokens."):
        dataset[3]
    with pytest.raises(DamagedShard, match="s1/é1: a token is 300"):
        list(dataset.stream())
    (folder / "bad.json").unlink()
    with pytest.raises(DamagedShard, match="ends after 3 rows, fewer than its sidecar counts: run verify-tokens."):
        list(vistok.TokenDataset(folder, skip_incomplete=True).stream())
    assert dataset.manifest.fingerprint == FINGERPRINT
