"""Folders of packed sequences, and what a reader that knows the formats alone finds in them."""

import json

import numpy as np
from typer.testing import CliRunner

from megatron_reader import read_indexed_dataset
from token_folders import CODEBOOKS, VOCAB_SIZE


def run(app, *arguments, code=0):
    """Run a command and return what it said."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output + result.stderr
    return result.output + result.stderr


def read_packed(folder, form):
    """Return ids, mask and first ids of the documents of each row, shard by shard in the order of their names."""
    names = sorted(path.stem for path in folder.glob("*.json") if "shard" in json.loads(path.read_text()))
    rows = []
    for name in names:
        rows += {"megatron": _megatron, "parquet": _parquet, "npy": _npy}[form](folder, name)
    return rows


def _megatron(folder, name):
    def pair(prefix):
        return read_indexed_dataset(*((folder / f"{prefix}{suffix}").read_bytes() for suffix in (".bin", ".idx")))

    _, ids, ends = pair(name)
    kind, masks, mask_ends = pair(f"{name}.loss")
    assert kind == np.dtype("u1") and ends == mask_ends == tuple(range(len(ids) + 1))
    lines = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
    starts = [[document["span"][0] for document in line["documents"]] for line in lines]
    return [(row.tolist(), mask.tolist(), start) for row, mask, start in zip(ids, masks, starts, strict=True)]


def _parquet(folder, name):
    import pyarrow.parquet as parquet

    table = parquet.read_table(folder / f"{name}.parquet")
    return [(row["input_ids"], row["loss_mask"], row["seq_start_id"]) for row in table.to_pylist()]


def _npy(folder, name):
    ids, loss, rows, documents = (
        np.load(folder / f"{name}.{part}.npy", mmap_mode="r") for part in ("ids", "loss", "rows", "documents")
    )
    found = []
    for first, last in zip(rows[:-1].tolist(), rows[1:].tolist(), strict=True):
        starts = [start - first for start in documents.tolist() if first <= start < last]
        found.append((ids[first:last].tolist(), loss[first:last].tolist(), starts))
    return found


def raster_ids(tokens, offset):
    """The ids of tokens in the layout raster, code by code."""
    _, height, width = tokens.shape
    return [
        offset + VOCAB_SIZE * q + int(tokens[q, y, x])
        for y in range(height)
        for x in range(width)
        for q in range(CODEBOOKS)
    ]
