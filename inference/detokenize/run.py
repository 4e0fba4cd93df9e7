"""The whole of detokenize-images, from its options to the images."""

import os
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from ...cli.options import check_output_folder
from ...cli.progress import ProgressLine, track
from ...images.saving import mark_of
from ...images.tars.blocks import DamagedShard
from ...tokenizer.files import remove_asides
from ...tokenizer.folder_lock import hold_folder
from ...tokenizer.wording import pluralize
from ..api import Tokenizer, load
from ..inputs.keys import file_name, make_unique, normalised_key
from ..token_shards.formats import open_samples
from ..token_shards.manifest import manifest_of
from ..token_shards.sidecar import MANIFEST_FILE
from ..token_shards.store import Store
from .decoding import FolderDecoder, ImageJob, batches, checked, decoded, folder_decoder, save
from .verified_shards import ShardFile, find_shards, verified_keys

ENDING = ".png"
MAX_PATH_BYTES = 2048
"""Bytes of the longest path below the folder; together with the folder's own path, systems take 4096."""


class Outcome(NamedTuple):
    """What a call did."""

    out: Path
    shards: int
    written: int
    there_before: int
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


def detokenize(inputs: list[str], out: Path, model: str | None, device: str, overwrite: bool, quiet: bool) -> Outcome:
    """Decode token shards; raise ValueError for a wrong call, OSError when the disk refuses."""
    check_output_folder(out)
    files, damaged = find_shards(inputs)
    decoders = _decoders(files, model, device)
    shards: dict[ShardFile, list[str]] = {}
    for shard, sidecar in track(files.items(), "shards", quiet=quiet):
        try:
            shards[shard] = verified_keys(shard, sidecar, decoders[shard.store].shard_format)
        except DamagedShard as error:
            damaged.append(str(error))
    paths = dict(
        zip(shards, image_paths([(Path(shard.name).stem, keys) for shard, keys in shards.items()]), strict=True)
    )
    if not overwrite:
        _refuse_replacing(_jobs(paths, decoders, out))
    failures: list[str] = []
    written = before = 0
    with (
        hold_folder(out, "detokenize-images"),
        ThreadPoolExecutor() as pool,
        ProgressLine(total=sum(map(len, paths.values())), quiet=quiet) as line,
        closing(_jobs(paths, decoders, out)) as jobs,
    ):
        for batch in batches(checked(jobs, failures)):
            missing = [image for image in batch if mark_of(image.job.path) != image.mark]
            before += len(batch) - len(missing)
            problems = [problem for problem in pool.map(save, missing, decoded(missing)) if problem]
            failures += problems
            written += len(missing) - len(problems)
            line.update(written + before + len(failures), note=f"{len(failures)} failed" if failures else "")
        for folder in {(out / path).parent for row in paths.values() for path in row}:
            if folder.is_dir():
                remove_asides(folder)
    return Outcome(out, len(shards), written, before, failures, damaged)


def _decoders(shards: Iterable[ShardFile], named: str | None, device: str) -> dict[Store, FolderDecoder]:
    loaded: dict[str, Tokenizer] = {}
    decoders = {}
    for folder in dict.fromkeys(shard.store for shard in shards):
        manifest = manifest_of(folder)
        if manifest is None:
            raise ValueError(f"{folder} has no {MANIFEST_FILE}, which names the tokenizer of its shards: put it back.")
        model = named or manifest.model
        if model not in loaded:
            loaded[model] = load(model, device)
        decoders[folder] = folder_decoder(folder, manifest, loaded[model], model)
    return decoders


def _jobs(
    paths: dict[ShardFile, list[str]], decoders: dict[Store, FolderDecoder], out: Path
) -> Generator[ImageJob, None, None]:
    """Yield the images of all shards; each can be read until the next is asked for."""
    for shard, row in paths.items():
        decoder = decoders[shard.store]
        with open_samples(*shard, decoder.shard_format) as samples:
            for sample, path in zip(samples, row, strict=True):
                yield ImageJob(sample, out / path, f"{shard}: {sample.key}", decoder)


def _refuse_replacing(jobs: Iterable[ImageJob]) -> None:
    for image in checked((job for job in jobs if os.path.lexists(job.path)), []):
        path = image.job.path
        if mark_of(path) != image.mark:
            raise ValueError(f"{path} is there already: give another --out folder, or --overwrite to replace it.")


def image_paths(shards: Sequence[tuple[str, Iterable[str]]]) -> list[list[str]]:
    """Return KEY.png for each key of each shard, given by name, or SHARD/KEY.png for a key of several shards."""
    listed = [(shard, make_unique(keys)) for shard, keys in shards]
    counts = Counter(key for _, keys in listed for key in keys)
    used: set[str] = set()
    return [[_unused(key if counts[key] == 1 else f"{shard}/{key}", used) for key in keys] for shard, keys in listed]


def _unused(key: str, used: set[str]) -> str:
    """Return a path that no other image has, even on file systems that ignore case."""
    path, number = _path(key), 1
    while path.casefold() in used:
        number += 1
        path = _path(f"{key}_{number}")
    used.add(path.casefold())
    return path


def _path(key: str) -> str:
    *folders, base = normalised_key(key).replace("\0", r"\x00").split("/")
    folders = [f"{folder}_" if folder.casefold().endswith(ENDING) else folder for folder in folders]  # no file's name
    path = "/".join([*(file_name(folder, "") for folder in folders), file_name(base or "unnamed", ENDING)])
    return path if len(os.fsencode(path)) <= MAX_PATH_BYTES else file_name(path.replace("/", "_"), ENDING)
