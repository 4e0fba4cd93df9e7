"""What detokenize-images does, from its options to the images."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from ...cli.options import check_output_folder
from ...cli.progress import ProgressLine, track
from ...images.saving import mark_of
from ...tokenizer.files import hold_folder, remove_asides
from ...tokenizer.wording import pluralize
from ..api import Tokenizer, load
from ..inputs.image_names import image_names
from .image_jobs import Job, Maker, batches, checked, decoded, maker_for, save
from .stored_shards import Found, ShardDamagedError, ShardFile, StoredShard, find_shards, manifest_of, read_shard


class Request(NamedTuple):
    """The options of detokenize-images."""

    inputs: list[Path]
    out: Path
    model: str | None
    device: str
    overwrite: bool
    quiet: bool


class Outcome(NamedTuple):
    """What a run did."""

    out: Path
    shards: int
    written: int
    there_before: int
    """Images that an earlier call wrote from the same tokens."""
    failures: list[str]
    damaged: list[str]

    @property
    def has_failed(self) -> bool:
        """Whether something did not come back."""
        return bool(self.failures or self.damaged)

    def lines(self) -> list[str]:
        """Return the lines for a person."""
        before = f", {self.there_before} there before" if self.there_before else ""
        lines = [f"{pluralize(self.written, 'image')} from {pluralize(self.shards, 'shard')} in {self.out}{before}"]
        lines += [f"  failed: {reason}" for reason in self.failures]
        return lines + [f"  damaged: {sentence}" for sentence in self.damaged]


def detokenize(request: Request) -> Outcome:
    """Make images of token shards; what cannot be made is named, and the rest is made.

    Raises ValueError for a wrong call, OSError when the disk refuses.
    """
    check_output_folder(request.out)
    found = find_shards(request.inputs)
    makers = _makers(found, request)
    damaged = [*found.missing]
    shards = list(_whole(track(found.files, "shards", quiet=request.quiet), damaged))
    jobs = _jobs(shards, makers, request.out)
    if not request.overwrite:
        _refuse_replacing(jobs)
    failures: list[str] = []
    written = before = 0
    with (
        hold_folder(request.out, "detokenize-images"),
        ThreadPoolExecutor() as pool,
        ProgressLine(total=len(jobs), quiet=request.quiet) as line,
    ):
        for batch in batches(checked(jobs, failures)):
            missing = [made for made in batch if mark_of(made.job.path) != made.mark]
            before += len(batch) - len(missing)
            problems = [problem for problem in pool.map(save, missing, decoded(missing)) if problem]
            failures += problems
            written += len(missing) - len(problems)
            line.update(written + before + len(failures), note=f"{len(failures)} failed" if failures else "")
        for folder in {job.path.parent for job in jobs if job.path.parent.is_dir()}:
            remove_asides(folder)
    return Outcome(request.out, len(shards), written, before, failures, damaged)


def _makers(found: Found, request: Request) -> dict[Path, Maker]:
    """Load the tokenizer of each folder, which its manifest names unless the user does."""
    loaded: dict[str, Tokenizer] = {}
    makers = {}
    for folder in dict.fromkeys(file.path.parent for file in found.files):
        manifest = manifest_of(folder)
        model = request.model or manifest.model
        if model not in loaded:
            loaded[model] = load(model, request.device)
        makers[folder] = maker_for(folder, manifest, loaded[model], model)
    return makers


def _whole(files: Iterable[ShardFile], damaged: list[str]) -> Iterator[StoredShard]:
    """Read the shards that are whole; sentences about the others are appended to `damaged`."""
    for file in files:
        try:
            yield read_shard(file)
        except ShardDamagedError as error:
            damaged.append(str(error))


def _jobs(shards: list[StoredShard], makers: dict[Path, Maker], out: Path) -> list[Job]:
    names = image_names([(shard.path.stem, [sample.key for sample in shard.samples]) for shard in shards])
    return [
        Job(sample, out / name, f"{shard.path}: {sample.key}", makers[shard.path.parent])
        for shard, row in zip(shards, names, strict=True)
        for sample, name in zip(shard.samples, row, strict=True)
    ]


def _refuse_replacing(jobs: list[Job]) -> None:
    for made in checked((job for job in jobs if os.path.lexists(job.path)), []):
        path = made.job.path
        if mark_of(path) != made.mark:
            raise ValueError(f"{path} is there already: give another --out folder, or --overwrite to replace it.")
