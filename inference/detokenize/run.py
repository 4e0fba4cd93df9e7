"""The whole of detokenize-images, from its options to the images."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from ...cli.options import check_output_folder
from ...cli.progress import ProgressLine, track
from ...images.finding.index import DamagedShard
from ...images.saving import mark_of
from ...tokenizer.files import remove_asides
from ...tokenizer.folder_lock import hold_folder
from ...tokenizer.wording import pluralize
from ..api import Tokenizer, load
from .decoding import FolderDecoder, ImageJob, batches, checked, decoded, folder_decoder, save
from .image_paths import image_paths
from .verified_shards import Found, ShardFile, StoredShard, find_shards, manifest_of, read_shard


class Request(NamedTuple):
    """The options of detokenize-images."""

    inputs: list[Path]
    out: Path
    model: str | None
    device: str
    overwrite: bool
    quiet: bool


class Outcome(NamedTuple):
    """What a call did."""

    out: Path
    shards: int
    written: int
    there_before: int
    """Images that an earlier call made of the same tokens."""
    failures: list[str]
    damaged: list[str]

    @property
    def has_failed(self) -> bool:
        """Whether something did not come back."""
        return bool(self.failures or self.damaged)

    def lines(self) -> list[str]:
        """Return lines for people."""
        before = f", {self.there_before} there before" if self.there_before else ""
        lines = [f"{pluralize(self.written, 'image')} from {pluralize(self.shards, 'shard')} in {self.out}{before}"]
        lines += [f"  failed: {reason}" for reason in self.failures]
        return lines + [f"  damaged: {sentence}" for sentence in self.damaged]


def detokenize(request: Request) -> Outcome:
    """Decode token shards to images; name those that cannot be decoded and go on.

    Raises ValueError for a wrong call, OSError when the disk refuses.
    """
    check_output_folder(request.out)
    found = find_shards(request.inputs)
    decoders = _decoders(found, request)
    damaged = [*found.missing]
    shards = list(_whole(track(found.files, "shards", quiet=request.quiet), decoders, damaged))
    jobs = _jobs(shards, decoders, request.out)
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
            missing = [image for image in batch if mark_of(image.job.path) != image.mark]
            before += len(batch) - len(missing)
            problems = [problem for problem in pool.map(save, missing, decoded(missing)) if problem]
            failures += problems
            written += len(missing) - len(problems)
            line.update(written + before + len(failures), note=f"{len(failures)} failed" if failures else "")
        for folder in {job.path.parent for job in jobs if job.path.parent.is_dir()}:
            remove_asides(folder)
    return Outcome(request.out, len(shards), written, before, failures, damaged)


def _decoders(found: Found, request: Request) -> dict[Path, FolderDecoder]:
    """Load the tokenizer of each folder, which its manifest names unless the user does."""
    loaded: dict[str, Tokenizer] = {}
    decoders = {}
    for folder in dict.fromkeys(file.path.parent for file in found.files):
        manifest = manifest_of(folder)
        model = request.model or manifest.model
        if model not in loaded:
            loaded[model] = load(model, request.device)
        decoders[folder] = folder_decoder(folder, manifest, loaded[model], model)
    return decoders


def _whole(
    files: Iterable[ShardFile], decoders: dict[Path, FolderDecoder], damaged: list[str]
) -> Iterator[StoredShard]:
    """Yield the whole shards; append sentences about the others to `damaged`."""
    for file in files:
        try:
            yield read_shard(file, decoders[file.path.parent].shard_format)
        except DamagedShard as error:
            damaged.append(str(error))


def _jobs(shards: list[StoredShard], decoders: dict[Path, FolderDecoder], out: Path) -> list[ImageJob]:
    paths = image_paths([(shard.path.stem, [sample.key for sample in shard.samples]) for shard in shards])
    return [
        ImageJob(sample, out / path, f"{shard.path}: {sample.key}", decoders[shard.path.parent])
        for shard, row in zip(shards, paths, strict=True)
        for sample, path in zip(shard.samples, row, strict=True)
    ]


def _refuse_replacing(jobs: list[ImageJob]) -> None:
    for image in checked((job for job in jobs if os.path.lexists(job.path)), []):
        path = image.job.path
        if mark_of(path) != image.mark:
            raise ValueError(f"{path} is there already: give another --out folder, or --overwrite to replace it.")
