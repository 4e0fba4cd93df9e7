"""Folders of token shards that are written without a model, in any format."""

import hashlib
import shutil

import numpy as np

from vistok.images.file_entry import file_entry
from vistok.inference.inputs.samples import Companion
from vistok.inference.inputs.views import ONE_ROW
from vistok.inference.token_shards.formats import SHARD_FORMATS, shard_files
from vistok.inference.token_shards.manifest import Manifest, write_manifest
from vistok.inference.token_shards.shard_file import ShardFile
from vistok.inference.token_shards.sidecar import Sidecar, write_sidecar
from vistok.inference.token_shards.store import LocalStore
from vistok.inference.token_shards.token_samples import TokenSample
from vistok.tokenizer.preprocessing import PreprocessingConfig

ROWS = (5, 0, 9, 1, 4)
"""Rows of the shards of a folder."""
VOCAB_SIZE, CODEBOOKS = 300, 2
FINGERPRINT = "f" * 64
MODEL = "hf://someone/something"
"""A tokenizer that is not on this machine, so that none is loaded."""


def samples_of(shard, count, captions=None, grid=(2, 3)):
    """Samples of one grid, whose tokens say where they are; every other one has a caption when there is a folder for it."""
    samples = []
    for row in range(count):
        tokens = np.random.default_rng([shard, row]).integers(0, VOCAB_SIZE, (CODEBOOKS, *grid), dtype=np.uint16)
        metadata = {"source": f"{shard}/{row}.png", "width": 48, "height": 32, "sha256": f"{row:064x}"}
        companions = []
        if captions is not None and row % 2 == 0:
            path = captions / f"{shard}-{row}.txt"
            path.write_text(f"caption {shard} {row}")
            companions = [Companion("txt", file_entry(str(path), path.name))]
        samples.append(TokenSample(f"s{shard}/é{row}", tokens, metadata, companions))
    return samples


def write_shard(folder, form, name, samples, **changes):
    """Write a shard and its sidecar."""
    shard_format = SHARD_FORMATS[form]
    shard = f"{name}{shard_format.suffixes[0]}"
    names = shard_files(shard, shard_format)
    with LocalStore(folder).replace(names) as files:
        shard_format.write(files, samples)
    seal(folder, shard, **({"images": len(samples)} | changes))


def seal(folder, shard, images, **changes):
    """Write the sidecar of a shard that is there, whatever is in it."""
    names = shard_files(shard, next(entry for entry in SHARD_FORMATS.values() if shard.endswith(entry.suffixes[0])))
    contents = {name: (folder / name).read_bytes() for name in names}
    facts = {
        "shard": shard,
        "fingerprint": FINGERPRINT,
        "precision": "float32",
        "keep": "all",
        "views": ONE_ROW,
        "inputs": "i" * 64,
        "content": "c" * 64,
        "images": images,
        "rows": images,
        "failures": [],
        "passed_over": {},
        "files": [
            ShardFile(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())
            for name, content in contents.items()
        ],
    }
    write_sidecar(LocalStore(folder), Sidecar(**(facts | changes)))


def write_totals(folder, form, **changes):
    """Write the manifest over the whole shards that are there."""
    facts = {
        "model": MODEL,
        "fingerprint": FINGERPRINT,
        "precision": "float32",
        "format": form,
        "keep": "all",
        "vocab_size": VOCAB_SIZE,
        "num_codebooks": CODEBOOKS,
        "downsample": 16,
        "dtype": "uint16",
        "preprocessing": PreprocessingConfig(size="native"),
    }
    write_manifest(LocalStore(folder), Manifest(**(facts | changes)))


def write_folder(folder, form, rows=ROWS, captions=True, grid=(2, 3), **changes):
    """Write a whole folder and return it."""
    folder.mkdir(parents=True)
    beside = folder.parent / f"{folder.name}-captions"
    beside.mkdir(exist_ok=True)
    for shard, count in enumerate(rows):
        write_shard(folder, form, f"shard-{shard}", samples_of(shard, count, beside if captions else None, grid))
    shutil.rmtree(beside)
    write_totals(folder, form, **changes)
    return folder
