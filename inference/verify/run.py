"""The whole of verify-tokens, from its options to the report."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import NamedTuple

from ...cli.progress import ProgressLine
from ...images.file_entry import problem_of
from ...tokenizer.system import usable_cores
from ..token_dataset.dataset import TokenDataset
from ..token_dataset.folder import Shard, TokenFolder
from ..token_shards.formats import format_of
from ..token_shards.manifest import Manifest, is_packed, manifest_of
from ..token_shards.sidecar import MANIFEST_FILE, Sidecar, all_sidecars
from ..token_shards.store import LocalStore, Store, open_store
from .deep import check_deep
from .files import sidecar_problems, size_problems, stray_problems, total_problems
from .keys import repeated_keys
from .models import tokenizer_at_hand, tokenizer_of
from .packed import verify_packed
from .packed_report import PackedReport
from .problems import Problem
from .report import Report
from .shards import ShardCheck, ShardReport


class Request(NamedTuple):
    """The options of verify-tokens."""

    folder: str
    deep: bool
    model: str | None
    sources: list[str]
    samples: int
    device: str
    quiet: bool


def verify(request: Request) -> Report | PackedReport:
    """Check a folder of token shards or packed sequences and return all that is wrong.

    Raises ValueError for a wrong call, OSError.
    """
    store = open_store(request.folder)
    if isinstance(store, LocalStore) and not store.folder.is_dir():
        what = problem_of(str(store)) or "is a file"
        raise ValueError(f"{store} {what}: give a folder that tokenize-images or pack-sequences wrote.")
    sizes = store.sizes()
    if MANIFEST_FILE in sizes and is_packed(store.read(MANIFEST_FILE)):
        if request.deep or request.model:
            option = "--deep" if request.deep else "--model"
            raise ValueError(
                f"{store} holds packed sequences, whose images unpack-sequences decodes: leave {option} out."
            )
        return verify_packed(request.folder, request.quiet)
    return _verify_tokens(request, store, sizes)


def _verify_tokens(request: Request, store: Store, sizes: dict[str, int]) -> Report:
    sidecars = list(all_sidecars(store, sizes))
    manifest, problems = _manifest(store, sidecars)
    tokenizer, note = None, ""
    if manifest and (request.deep or request.model):
        tokenizer = tokenizer_of(store, manifest, request.model, request.device)
    elif manifest:
        tokenizer, note = tokenizer_at_hand(store, manifest, request.device)
    if manifest:
        problems += total_problems(manifest, sidecars)
    problems += sidecar_problems(store, manifest, sidecars, sizes)
    problems += stray_problems(store, sidecars)
    whole = []
    for sidecar in sidecars:
        problems += size_problems(sidecar.files, sizes)
        if all(file.name in sizes for file in sidecar.files):
            whole.append(sidecar)
            _require(sidecar)
    check = ShardCheck(store, manifest, tokenizer.grid if tokenizer else None)
    reports = dict(zip((sidecar.shard for sidecar in whole), _checked(whole, check, request.quiet), strict=True))
    problems += chain.from_iterable(report.problems for report in reports.values())
    deep = None
    if manifest:
        shards = tuple(Shard(name, report.rows) for name, report in reports.items())
        folder = TokenFolder(store, manifest, shards, ())
        problems += repeated_keys(folder, {name: report.hashes for name, report in reports.items()})
        if request.deep and tokenizer:
            has_rows = any(sidecar.rows for sidecar in whole if sidecar.fingerprint == manifest.fingerprint)
            dataset = TokenDataset(request.folder, skip_incomplete=True) if has_rows else None
            deep = check_deep(dataset, tokenizer, request.sources, request.samples, request.quiet) if dataset else None
            problems += deep.problems if deep else []
    return Report(
        folder=str(store),
        manifest=manifest,
        shards=len(sidecars),
        files=sum(len(sidecar.files) for sidecar in whole),
        size=sum(sizes[file.name] for sidecar in whole for file in sidecar.files),
        rows=sum(report.rows for report in reports.values()),
        problems=problems,
        deep=deep,
        grids_note=note,
    )


def _manifest(store: Store, sidecars: list[Sidecar]) -> tuple[Manifest | None, list[Problem]]:
    """Return the manifest, or what is wrong with it; raise ValueError when the folder is none of tokenize-images."""
    try:
        manifest = manifest_of(store)
    except ValueError as error:
        if not sidecars:
            raise
        said = str(error).removeprefix(f"{store.path_of(MANIFEST_FILE)} ").rstrip(".")
        return None, [Problem("manifest", MANIFEST_FILE, "", said)]
    if manifest is None and not sidecars:
        raise ValueError(f"{store} has no {MANIFEST_FILE} and no sidecar: give a folder that tokenize-images wrote.")
    missing = "is missing, which says what tokens are allowed: run the same tokenize-images command again"
    return manifest, [] if manifest else [Problem("manifest", MANIFEST_FILE, "", missing)]


def _require(sidecar: Sidecar) -> None:
    shard_format = format_of(sidecar.shard)
    assert shard_format
    shard_format.require()


def _checked(sidecars: list[Sidecar], check: ShardCheck, quiet: bool) -> Iterator[ShardReport]:
    """Yield the reports of shards in their order; some are checked at a time."""
    expected, done = sum(sidecar.rows for sidecar in sidecars), 0
    with ThreadPoolExecutor(usable_cores()) as pool, ProgressLine("rows", expected, quiet) as line:
        line.update(0)
        for report in pool.map(check.check, sidecars):
            done += report.rows
            line.update(done, note=f"{len(report.problems)} problems" if report.problems else "")
            yield report
