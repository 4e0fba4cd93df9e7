"""Samples of every kind that a shard may hold, shards of them in memory, and images to decode without a shard."""

import importlib.util
import io
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from vistok.images.file_entry import file_entry
from vistok.inference.api import Tokenizer
from vistok.inference.detokenize.checking import FolderDecoder, ImageJob
from vistok.inference.inputs.samples import Companion
from vistok.inference.token_shards.formats import SHARD_FORMATS
from vistok.inference.token_shards.token_samples import StoredSample, TokenSample

CONTENTS = {"txt": "a cat, héllo\r\n".encode(), "seg.png": b"\xff\xd8\0\n", "json": b'{"a": [1]}'}
NEEDED = {"parquet": "pyarrow"}
FORMATS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            name in NEEDED and importlib.util.find_spec(NEEDED[name]) is None, reason=f"needs {NEEDED.get(name)}"
        ),
    )
    for name in SHARD_FORMATS
]
"""Names of all formats; a test skips those whose package is not installed."""


def token_samples(folder, count=7, dtype="uint16", high=200, seed=0):
    """Samples of several grids, some with companions and some with a view or with metadata of another kind."""
    generator = np.random.default_rng(seed)
    paths = {extension: folder / f"{index}.{extension}" for index, extension in enumerate(CONTENTS)}
    for extension, path in paths.items():
        path.write_bytes(CONTENTS[extension])
    samples = []
    for index in range(count):
        tokens = generator.integers(0, high, (2, 3 + index % 3, 4), dtype=np.uint64).astype(dtype)
        metadata = {"source": f"{index}.png", "width": 40 + index, "height": 30, "sha256": f"{index:064x}"}
        metadata |= {"view": "left"} if index % 2 else {}
        metadata |= {"score": 0.25, "tags": ["é"]} if index % 3 == 0 else {}
        companions = [Companion(extension, file_entry(str(path), path.name)) for extension, path in paths.items()]
        samples.append(TokenSample(f"a/é{index}", tokens, metadata, companions[: index % 4]))
    return samples


def written(name, samples):
    """The bytes of each file of a shard."""
    shard_format = SHARD_FORMATS[name]
    files = [io.BytesIO() for _ in shard_format.suffixes]
    shard_format.write(files, samples)
    return [file.getvalue() for file in files]


def opened(contents):
    """Files in memory, whose names are for messages."""
    files = []
    for index, content in enumerate(contents):
        file = None if content is None else io.BytesIO(content)
        if file is not None:
            file.name = f"file-{index}"
        files.append(file)
    return files


def read_back(name, contents):
    """All that can be read of each sample: key, tokens, metadata, companions."""
    return [
        (
            sample.key,
            sample.tokens(),
            sample.metadata(),
            {extension: read() for extension, read in sample.companions.items()},
        )
        for sample in SHARD_FORMATS[name].read(opened(contents))
    ]


def image_jobs(tokenizer: Tokenizer, grids: Iterable[np.ndarray], folder: Path) -> Iterator[ImageJob]:
    """Yield an image for each grid `q y x`, with the path INDEX.png."""
    decoder = FolderDecoder(tokenizer, SHARD_FORMATS["wds"], "digest")
    for index, grid in enumerate(grids):
        sides = (side * tokenizer.downsample for side in grid.shape[1:])
        metadata = dict(zip(("height", "width"), sides, strict=True)) | {"source": f"{index}.png"}
        sample = StoredSample(str(index), partial(grid.astype, np.uint16), partial(dict, metadata))
        yield ImageJob(index, sample, folder / f"{index}.png", str(index), decoder)


def contents(folder):
    """Return the bytes of the files of a folder by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
