"""A folder of packed sequences compared with its sidecars, and every image read back from its ids."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ...cli.progress import ProgressLine
from ...images.tars.blocks import DamagedShard
from ...tokenizer.system import usable_cores
from ..packed_shards.folder import PackedFolder
from ..packed_shards.formats import open_rows, packed_shard_of
from ..packed_shards.loss import loss_rule
from ..packed_shards.manifest import totals
from ..packed_shards.ownership import PackedFiles
from ..packed_shards.reading import ReadDocument, SequenceReader
from ..packed_shards.rows import PackedRow
from ..packed_shards.sidecar import NO_SIDECARS, Counts, PackedSidecar, sidecar_of
from ..token_dataset.shard_index import hash_of
from ..token_shards.sidecar import MANIFEST_FILE
from .files import content_problems, no_sidecar, size_problems
from .packed_report import PackedReport
from .problems import Problem


def verify_packed(path: str, quiet: bool) -> PackedReport:
    """Check a folder of packed sequences and return all that is wrong; raise ValueError for a wrong call, OSError."""
    folder = PackedFolder(path)
    check = PackedCheck(folder)
    files = PackedFiles(folder.store)
    problems = [*_total_problems(folder, files), *_sidecar_problems(folder, files)]
    for sidecar in files.sidecars:
        problems += size_problems(sidecar.files, files.sizes)
    there = [each for each in files.sidecars if all(file.name in files.sizes for file in each.files)]
    rows, images = 0, 0
    hashes: dict[int, str] = {}
    with (
        ThreadPoolExecutor(usable_cores()) as pool,
        ProgressLine("images", sum(each.counts.documents for each in there), quiet) as line,
    ):
        line.update(0)
        for sidecar, report in zip(there, pool.map(check.shard, there), strict=True):
            problems += [*report.problems, *_repeated(sidecar, report, hashes)]
            rows, images = rows + report.counts.rows, images + report.counts.documents
            line.update(images, note=f"{len(problems)} problems" if problems else "")
    names = [file.name for each in there for file in each.files]
    return PackedReport(
        folder=str(folder.store),
        manifest=folder.manifest,
        shards=len(files.sidecars),
        files=len(names),
        size=sum(files.sizes[name] for name in names),
        rows=rows,
        images=images,
        problems=problems,
    )


class PackedShardReport(NamedTuple):
    """What was found in a shard."""

    problems: list[Problem]
    counts: Counts
    keys: list[str]


class PackedCheck:
    """What the shards of a folder are compared with; raises ValueError when a file beside them is missing or not theirs."""

    def __init__(self, folder: PackedFolder):
        self._folder = folder
        self._settings = folder.manifest.settings
        self._rule = loss_rule(self._settings)
        self._size = folder.vocabulary.size
        folder.check_tokenizer()
        self._reader = SequenceReader(folder.layout, self._settings)

    def shard(self, sidecar: PackedSidecar) -> PackedShardReport:
        """Compare a shard whose files are all there; what cannot be read is a problem too."""
        store, name = self._folder.store, sidecar.shard
        problems = [problem for file in sidecar.files for problem in content_problems(store, file)]
        keys: list[str] = []
        rows = ids = padding = 0
        found = packed_shard_of(sidecar.files[0].name)
        assert found
        try:
            with open_rows(store, name, found[1]) as opened:
                for row, documents in self._reader.read(opened):
                    problems += [Problem(*each) for each in self._row(name, rows, row, documents)]
                    keys += [document.key for document in row.documents]
                    used = row.documents[-1].span[1]
                    rows, ids, padding = rows + 1, ids + used, padding + len(row.ids) - used
        except DamagedShard as error:
            said = str(error).removeprefix(f"{store.path_of(name)} ").rstrip(".")
            problems.append(Problem("rows", name, "", f"{said}, after {rows:,} of {sidecar.counts.rows:,} rows"))
        except OSError as error:
            problems.append(Problem("rows", name, "", f"cannot be read ({error.strerror or error})"))
        else:
            expected = sidecar.counts
            for what, count in (("rows", rows), ("documents", len(keys)), ("ids", ids), ("padding", padding)):
                if count != (said_count := getattr(expected, what)):
                    text = f"holds {count:,} {what}, but its sidecar counts {said_count:,}"
                    problems.append(Problem("rows", name, "", text))
        return PackedShardReport(problems, Counts(rows=rows, documents=len(keys)), keys)

    def _row(
        self, name: str, index: int, row: PackedRow, documents: list[ReadDocument]
    ) -> Iterator[tuple[str, str, str, str]]:
        settings, where = self._settings, f"row {index}"
        low, high = int(row.ids.min()), int(row.ids.max())
        if low < 0 or high >= self._size:
            yield "rows", name, where, f"its ids are {low} to {high}, but the vocabulary has 0 to {self._size - 1}"
        if row.ids.dtype != np.dtype(settings.dtype):
            yield "rows", name, where, f"its ids are {row.ids.dtype}, not {settings.dtype}"
        end = row.documents[-1].span[1]
        expected = end if settings.length is None else settings.length
        if len(row.ids) != expected:
            yield "rows", name, where, f"has {len(row.ids):,} ids, not {expected:,}"
        if (row.ids[end:] != settings.pad).any():
            yield "rows", name, where, "its padding holds other ids"
        if not np.array_equal(row.loss, self._rule.mask(row.documents, len(row.ids))):
            yield "rows", name, where, f"its loss mask is not one of {settings.loss} at the {settings.mask_at}"
        for read in documents:
            if read.problem:
                yield "images", name, read.document.key, read.problem
            yield from ((*("rows", name, read.document.key), what) for what in self._marks(row, read))

    def _marks(self, row: PackedRow, read: ReadDocument) -> Iterator[str]:
        first, end = read.document.span
        for option, at in (("bos", first), ("eos", end - 1)):
            wanted = getattr(self._settings, option)
            if wanted is not None and row.ids[at] != wanted:
                yield f"has {row.ids[at]} where --{option} is {wanted}"


def _total_problems(folder: PackedFolder, files: PackedFiles) -> Iterator[Problem]:
    there = totals([each for each in files.sidecars if each.is_whole(files.sizes)])
    for name, count in there.items():
        if getattr(folder.manifest, name) != count:
            what = f"counts {getattr(folder.manifest, name)} {name}, but the sidecars have {count}"
            yield Problem("manifest", MANIFEST_FILE, "", what)


def _sidecar_problems(folder: PackedFolder, files: PackedFiles) -> Iterator[Problem]:
    known = {sidecar_of(each.shard) for each in files.sidecars} | NO_SIDECARS
    for name in sorted(files.sizes):
        if name.endswith(".json") and name not in known and (what := no_sidecar(folder.store.read(name))):
            yield Problem("sidecars", name, "", what)
    for sidecar in files.sidecars:
        if sidecar.fingerprint != folder.manifest.fingerprint:
            yield Problem("sidecars", sidecar.shard, "", f"was packed with other settings than {MANIFEST_FILE} has")
    described = {file.name for each in files.sidecars for file in each.files}
    for name in sorted(set(files.sizes) - described):
        if packed_shard_of(name):
            yield Problem("sidecars", name, "", "has no sidecar that describes it, so it may not be whole")
    for name in sorted(folder.store.others()):
        if packed_shard_of(name):
            yield Problem("sidecars", name, "", "is no file")


def _repeated(sidecar: PackedSidecar, report: PackedShardReport, hashes: dict[int, str]) -> Iterator[Problem]:
    for key in report.keys:
        before = hashes.setdefault(hash_of(key), sidecar.shard)
        if before != sidecar.shard:
            yield Problem("keys", sidecar.shard, key, f"is the key of a document of {before}, too")
