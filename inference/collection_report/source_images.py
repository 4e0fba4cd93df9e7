"""The original images of some rows, found again among the inputs."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import PurePath

import numpy as np

from ...images.file_entry import printable
from ...images.tars.blocks import DamagedShard
from ..api import Tokenizer
from ..inputs.input_files import UnreadableInputError
from ..inputs.loose_images import LOOSE_PATTERN, LooseImage, LooseSource
from ..inputs.plan import Plan
from ..inputs.reading import ReadImage, read_image
from ..inputs.samples import Sample, ShardTask
from ..inputs.views import Views, image_key, rows_of
from .row_sample import Row


class SourceImages:
    """Finds and preprocesses the images that rows were made of; those that have changed or cannot be read are not found."""

    def __init__(self, plan: Plan, tokenizer: Tokenizer, views: Views):
        self._plan = plan
        self._tokenizer = tokenizer
        self._views = views
        self._samples: dict[tuple[str, str], list[Sample]] = {}
        """By shard and row."""

    def prepare(self, rows: Sequence[Row], is_over: Callable[[], bool]) -> None:
        """Look for the inputs of some rows, tars in their order, until the time is over."""
        of_shards: dict[str, list[Row]] = {}
        for row in rows:
            name = PurePath(row.shard).stem
            of_shards.setdefault("" if re.fullmatch(LOOSE_PATTERN, name) else name, []).append(row)
        self._find_loose(of_shards.pop("", []))
        tasks = {task.name: task for task in self._plan.shards}
        for name, wanted in of_shards.items():
            if name in tasks and not is_over():
                self._find_listed(tasks[name], wanted, is_over)

    def pixels(self, row: Row) -> np.ndarray | None:
        """Return what the encoder got, uint8 `h w c`, or None."""
        for sample in self._samples.get((row.shard, row.key), []):
            with suppress(UnreadableInputError):
                if (pixels := self._read(sample, row)) is not None:
                    return pixels
        return None

    def _find_loose(self, rows: Sequence[Row]) -> None:
        wanted = {row.metadata["source"] for row in rows}
        found: dict[str, list[LooseImage]] = {}
        for image in self._plan.loose if wanted else []:
            if (name := printable(image.name)) in wanted:
                found.setdefault(name, []).append(image)
        for row in rows:
            key = image_key(row.key, row.metadata)
            images = sorted(found.get(row.metadata["source"], []), key=lambda image: image.key != key)
            if images:  # of one name in several folders, the SHA-256 tells which
                self._samples[row.shard, row.key] = list(LooseSource(images).list_samples().samples)

    def _find_listed(self, task: ShardTask, rows: Sequence[Row], is_over: Callable[[], bool]) -> None:
        missing: dict[tuple[str, str], list[Row]] = {}
        for row in rows:
            missing.setdefault((image_key(row.key, row.metadata), row.metadata["source"]), []).append(row)
        for sample in _listed(task):
            for row in missing.pop((sample.key, sample.source), []):
                self._samples[row.shard, row.key] = [sample]
            if not missing or is_over():
                return

    def _read(self, sample: Sample, row: Row) -> np.ndarray | None:
        config = self._tokenizer.config.preprocessing
        read = read_image(sample, self._views.canvas(config), self._tokenizer.downsample, self._tokenizer.grid)
        if not isinstance(read, ReadImage) or read.metadata["sha256"] != row.metadata.get("sha256"):
            return None
        views = rows_of(read, self._views, config, self._tokenizer.downsample)
        view = row.metadata.get("view")
        return next((each.pixels for each in views if each.metadata.get("view") == view), None)


def _listed(task: ShardTask) -> Iterator[Sample]:
    """Yield the samples of an input as far as it can be read."""
    with suppress(DamagedShard, OSError, ValueError):
        yield from task.source.list_samples().samples
