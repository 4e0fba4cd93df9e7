"""One shard compared with its sidecar, and each of its rows with the manifest."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ...images.tars.blocks import DamagedShard
from ..token_dataset.rows import check_tokens
from ..token_dataset.shard_index import hash_of
from ..token_shards.formats import format_of, open_samples
from ..token_shards.manifest import Manifest
from ..token_shards.sidecar import Sidecar
from ..token_shards.store import Store
from ..token_shards.token_samples import StoredSample
from .files import content_problems
from .problems import Problem

Grid = Callable[[int, int], tuple[int, int]]
"""Returns the grid of the tokens of an image of `height x width`."""


class ShardReport(NamedTuple):
    """What was found in a shard."""

    problems: list[Problem]
    rows: int
    hashes: np.ndarray
    """Hashes of the keys, uint64."""


class ShardCheck(NamedTuple):
    """What the shards of a folder are compared with."""

    store: Store
    manifest: Manifest | None
    grid: Grid | None

    def check(self, sidecar: Sidecar) -> ShardReport:
        """Compare a shard whose files are all there; what cannot be read is a problem too."""
        problems = [problem for file in sidecar.files for problem in content_problems(self.store, file)]
        hashes: list[int] = []
        shard, shard_format = sidecar.shard, format_of(sidecar.shard)
        assert shard_format
        try:
            with open_samples(self.store, shard, shard_format) as samples:
                for sample in samples:
                    hashes.append(hash_of(sample.key))
                    found = self._row(sample) if self.manifest else ()
                    problems += [Problem(check, shard, sample.key, what) for check, what in found]
            if len(hashes) != sidecar.rows:
                what = f"holds {len(hashes):,} rows, but its sidecar counts {sidecar.rows:,}"
                problems.append(Problem("rows", shard, "", what))
        except DamagedShard as error:
            said = str(error).removeprefix(f"{self.store.path_of(shard)} ").rstrip(".")
            what = f"{said.removesuffix(': repair or leave it out')}, after {len(hashes):,} of {sidecar.rows:,} rows"
            problems.append(Problem("rows", shard, "", what))
        except OSError as error:
            problems.append(Problem("rows", shard, "", f"cannot be read ({error.strerror or error})"))
        return ShardReport(problems, len(hashes), np.array(hashes, np.uint64))

    def _row(self, sample: StoredSample) -> Iterator[tuple[str, str]]:
        """Yield check and phrase for each problem of a row."""
        manifest = self.manifest
        assert manifest
        tokens = metadata = None
        try:
            tokens = sample.tokens()
            if tokens.dtype.name != manifest.dtype:
                yield "rows", f"its tokens are {tokens.dtype.name}, not {manifest.dtype}"
            check_tokens(tokens, manifest.num_codebooks, manifest.vocab_size)
        except ValueError as error:
            yield "rows", str(error)
        try:
            metadata = sample.metadata()
        except ValueError as error:
            yield "rows", str(error)
        if tokens is not None and metadata is not None and self.grid is not None:
            height, width, (_, y, x) = metadata["height"], metadata["width"], tokens.shape
            try:
                expected = self.grid(height, width)
            except ValueError as error:
                yield "grids", str(error)
                return
            if (y, x) != expected:
                yield (
                    "grids",
                    f"its grid is {y} x {x}, but an image {width} x {height} has {expected[0]} x {expected[1]}",
                )
