"""A shard of the format megatron is what Megatron-LM's IndexedDataset, NeMo and datatrove read and write."""

import json
import struct

import numpy as np
import pytest
import torch

from megatron_reader import read_indexed_dataset
from shard_files import read_back, token_samples, written
from vistok.inference.token_shards.formats import SHARD_FORMATS
from vistok.sequences.layouts import build_layout
from vistok.sequences.modality import Modality
from vistok.sequences.vocabulary import Vocabulary

MEGATRON = SHARD_FORMATS["megatron"]


@pytest.mark.parametrize(
    ("dtype", "stored"), [("uint8", "<u2"), ("uint16", "<u2"), ("uint32", "<i4"), ("uint64", "<i8")]
)
def test_a_reader_of_the_index_finds_each_image_in_raster_order(dtype, stored, tmp_path):
    samples = token_samples(tmp_path, dtype=dtype)
    tokens, index, lines = written("megatron", samples)
    found, rows, ends = read_indexed_dataset(tokens, index)
    assert found == np.dtype(stored) and ends == tuple(range(len(samples) + 1))
    for sample, row in zip(samples, rows, strict=True):
        q, height, width = sample.tokens.shape
        expected = [sample.tokens[k, y, x] for y in range(height) for x in range(width) for k in range(q)]
        assert row.tolist() == expected
        codebook = np.arange(len(row)) % q  # from which the ids of a vocabulary are made
        image = Modality("image", range(1000, 1000 + 200 * q, 200), 200)
        layout = build_layout("raster", Vocabulary((Modality("text", (0,), 1000), image)))
        ids = layout.ids(torch.from_numpy(sample.tokens.astype(np.int64)))
        assert (row + 200 * codebook + 1000).tolist() == ids.tolist()
    for sample, line in zip(samples, lines.decode().splitlines(), strict=True):
        row = json.loads(line)
        assert (row["key"], row["grid"], row["metadata"]) == (sample.key, list(sample.tokens.shape), sample.metadata)


@pytest.mark.parametrize(("dtype", "size"), [("uint16", 2), ("uint32", 4)])
def test_datatrove_writes_the_same_bytes(dtype, size, tmp_path):
    tokenizer = pytest.importorskip("datatrove.pipeline.tokens.megatron_tokenizer", exc_type=ImportError)
    samples = token_samples(tmp_path, dtype=dtype)
    tokens, index, _ = written("megatron", samples)
    theirs = tokenizer.MegatronTokenizedFile(str(tmp_path), "shard", token_size=size)
    for row in read_indexed_dataset(tokens, index)[1]:
        theirs.write(row.tolist())
    theirs.close()
    assert (tmp_path / "shard.bin").read_bytes() == tokens and (tmp_path / "shard.idx").read_bytes() == index


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_megatron_core_reads_it(dtype, tmp_path):
    core = pytest.importorskip("megatron.core.datasets.indexed_dataset", exc_type=ImportError)
    samples = token_samples(tmp_path, dtype=dtype)
    for suffix, content in zip(MEGATRON.suffixes, written("megatron", samples), strict=True):
        (tmp_path / f"shard{suffix}").write_bytes(content)
    dataset = core.IndexedDataset(str(tmp_path / "shard"), mmap=True)
    assert len(dataset) == len(samples) == len(dataset.document_indices) - 1
    for index, sample in enumerate(samples):
        assert np.array_equal(dataset[index], sample.tokens.transpose(1, 2, 0).reshape(-1))


@pytest.mark.filterwarnings("ignore")
def test_a_shard_without_images_is_an_index_of_nothing(tmp_path):
    tokens, index, lines = written("megatron", [])
    assert read_indexed_dataset(tokens, index) == (np.dtype("<u2"), [], (0,)) and tokens == lines == b""
    core = pytest.importorskip("megatron.core.datasets.indexed_dataset", exc_type=ImportError)
    for suffix, content in ((".bin", tokens), (".idx", index)):
        (tmp_path / f"shard{suffix}").write_bytes(content)
    assert len(core.IndexedDataset(str(tmp_path / "shard"), mmap=False)) == 0
    with pytest.raises(ValueError, match="cannot mmap an empty file"):  # as the page about formats says
        core.IndexedDataset(str(tmp_path / "shard"), mmap=True)


def test_codes_that_megatron_has_no_type_for_are_a_sentence(tmp_path):
    (sample,) = token_samples(tmp_path, 1, dtype="uint32")
    sample.tokens[0, 0, 0] = 1 << 31
    sentence = "Codes above 2,147,483,647 do not fit into a .bin of Megatron-LM: use --format wds or parquet."
    with pytest.raises(ValueError, match=sentence):
        written("megatron", [sample])


ROW = {
    "vistok": "megatron",
    "key": "k",
    "grid": [1, 1, 2],
    "dtype": "uint16",
    "metadata": {"source": "k.png", "width": 1, "height": 1},
    "members": {},
    "base64_members": {},
}


def line(**changes):
    return json.dumps(ROW | changes).encode() + b"\n"


def index(version=1, code=8, sequences=1, documents=2, lengths=(2,), pointers=(0,), ends=(0, 1)):
    header = struct.pack("<9sQBQQ", b"MMIDIDX\0\0", version, code, sequences, documents)
    return header + b"".join(
        np.array(row, kind).tobytes() for row, kind in ((lengths, "i4"), (pointers, "i8"), (ends, "i8"))
    )


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ((b"....", b"nothing", line()), "has an .idx that is not the index of an IndexedDataset"),
        (
            (b"....", index(version=2), line()),
            "has an .idx of version 2 with the type of tokens 8, which vistok does not",
        ),
        ((b"....", index(code=7), line()), "has an .idx of version 1 with the type of tokens 7, which vistok does not"),
        (
            (b"....", index()[:-1], line()),
            "has an .idx of 61 bytes for 1 images and 2 document ends: it is cut or damaged",
        ),
        ((b"....", index(sequences=1 << 60), line()), "images and 2 document ends: it is cut or damaged"),
        (
            (b"....", index(pointers=(1,)), line()),
            "has an .idx whose sequences do not follow one another: it is damaged",
        ),
        ((b"....", index(ends=(0, 2)), line()), "has an .idx whose sequences do not follow one another: it is damaged"),
        (
            (b"....", index(lengths=(-2,)), line()),
            "has an .idx whose sequences do not follow one another: it is damaged",
        ),
        ((b"...", index(), line()), "has a .bin of 3 bytes, but an .idx of 4: it is cut or damaged"),
        ((b"....", index(), b""), "has a .jsonl whose line 1 describes no image: it is cut or damaged"),
        ((b"....", index(), line()[:-1]), "has a .jsonl whose line 1 describes no image: it is cut or damaged"),
        ((b"....", index(), b"[" * 100_000 + b"\n"), "has a .jsonl whose line 1 describes no image"),
        ((b"....", index(), line(key=1)), "has a .jsonl whose line 1 describes no image"),
        ((b"....", index(), line() * 2), "has a .jsonl with more lines than the 1 of its .idx: it is damaged"),
        (
            (b"....", index(), line(grid=[1, 1, 3])),
            r"its 2 tokens of uint16 are not uint16 \[1, 1, 3\], as its line says",
        ),
        ((b"....", index(), line(grid=[1, -1, -2])), "its 2 tokens of uint16 are not uint16"),
        ((b"....", index(), line(grid={})), "its 2 tokens of uint16 are not uint16 {}, as its line says"),
        ((b"....", index(), line(dtype="uint32")), "its 2 tokens of uint16 are not uint32"),
        ((b"....", index(), line(dtype="uint8")), "its tokens are cut, or no uint8"),
        ((b"....", index(), line(metadata=None)), "its metadata is missing or damaged"),
        (
            (b"....", index(), line(members={"txt": "\ud800"})),
            "surrogates",
        ),
    ],
)
def test_damage_is_a_sentence(files, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_back("megatron", files)


def test_members_that_are_no_text_are_left_out_of_what_is_read():
    files = (b"....", index(), line(members={"txt": 1, "cls": "3"}, base64_members={"x": ["/"], "y": "/w=="}))
    assert read_back("megatron", files)[0][3] == {"cls": b"3", "y": b"\xff"}
    assert read_back("megatron", (b"....", index(), line(members=[])))[0][3] == {}
