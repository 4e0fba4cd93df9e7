"""The images that rows were made of, found by the source that each row names and by the SHA-256 of its file."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ...images.file_entry import file_entry
from ...images.tars.blocks import DamagedShard
from ..api import Tokenizer
from ..inputs.input_files import UnreadableInputError
from ..inputs.plan import plan_shards
from ..inputs.reading import ReadImage, read_image
from ..inputs.samples import Sample
from ..inputs.views import Views, rows_of
from ..token_dataset.rows import TokenRow

SHARD_SIZE = 1000


def source_images(
    rows: Sequence[TokenRow], inputs: list[str], tokenizer: Tokenizer, views: Views
) -> Iterator[tuple[TokenRow, ReadImage]]:
    """Yield the rows whose image is found, and is what it was, with its preprocessed pixels, or those of its view.

    It is looked for at the path that is the row's source, then among `inputs`, which are what tokenize-images takes.
    Raises ValueError for wrong inputs.
    """
    missing = {_identity(row.metadata): row for row in rows}
    config, downsample = tokenizer.config.preprocessing, tokenizer.downsample
    for sample in _candidates(list(dict.fromkeys(row.source for row in rows)), inputs):
        if not missing:
            return
        if not any(sample.source == source for source, _, _ in missing):
            continue
        with suppress(UnreadableInputError):
            image = read_image(sample, views.canvas(config), downsample)
            for view in rows_of(image, views, config, downsample) if isinstance(image, ReadImage) else []:
                row = missing.pop(_identity(view.metadata), None)
                if row is not None:
                    yield row, view


def _identity(metadata: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    return metadata["source"], metadata.get("sha256"), metadata.get("view")


def _candidates(sources: Sequence[str], inputs: list[str]) -> Iterator[Sample]:
    for source in sources:
        if os.path.isfile(source):
            yield Sample("", source, file_entry(source, source))
    for task in plan_shards(inputs, SHARD_SIZE).shards if inputs else []:
        with suppress(DamagedShard, OSError):
            yield from task.source.list_samples().samples
