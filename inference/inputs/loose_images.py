"""Loose images, each a file: found in folders or given one by one, and gathered into shards."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from ...images.file_entry import file_entry, printable, problem_of
from ...images.finding.index import folder_files
from ...images.finding.inputs import IMAGE_EXTENSIONS, Input, is_image
from .companions import CAPTION_EXTENSIONS, Keep
from .input_files import digest, file_state
from .keys import MAX_NAME_BYTES
from .samples import Companion, Listing, Sample, ShardTask, kind_of

LOOSE_PATTERN = r"images-\d{5,}"


class LooseImage(NamedTuple):
    """A file that is tokenized."""

    path: str
    name: str
    """Relative to the folder that was given, or the last part of a path that was given."""
    problem: str
    companions: tuple[str, ...]
    """Names in its folder of the files that are carried over with it."""
    key: str = ""
    """Its key in the output shard, once that is known."""


@dataclass
class LooseImages:
    """All loose images, each once."""

    keep: Keep
    images: list[LooseImage] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    """Images that were given more than once, the first time not counted."""
    _seen: set[tuple[str, str]] = field(default_factory=set)
    _folders: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    _real: Callable[[str], str] = field(default_factory=lambda: cache(os.path.realpath))

    def add_folder(self, folder: str, left_out: str | None) -> None:
        """Walk a folder, add its images, and count the files that are passed over."""
        names = folder_files(folder, left_out)
        others = [name for name in names if not is_image(name)]
        by_stem = _by_stem(others)
        kept: set[str] = set()
        for name in names:
            if is_image(name):
                companions = list(filter(self.keep.keeps_file, by_stem.get(os.path.splitext(name)[0], [])))
                kept.update(companions)
                path = os.path.join(folder, name)
                self._add(path, name, problem_of(path), tuple(map(os.path.basename, companions)))
        self.passed_over.update(kind_of(name) for name in others if name not in kept)

    def add_file(self, given: Input) -> None:
        """Add one file, whatever its ending, unless it belongs to an image beside it."""
        if given.problem:  # there may be no name, as in `missing/`, or one that is longer than any file's
            self._add(given.path, os.path.basename(given.path.rstrip("/"))[:MAX_NAME_BYTES], given.problem, ())
            return
        folder, base = os.path.split(given.path)
        beside = self._beside(folder, os.path.splitext(base)[0])
        companions = [name for name in beside if self.keep.keeps_file(name) and _is_other(folder, name)]
        if not is_image(base) and any(map(is_image, beside)):
            if base not in companions:
                self.passed_over[kind_of(base)] += 1
            return
        self._add(given.path, base, problem_of(given.path), tuple(name for name in companions if name != base))

    def _beside(self, folder: str, stem: str) -> list[str]:
        """Return the names `stem` with any ending in a folder; endings are tried where it may not be listed."""
        if folder not in self._folders:
            try:
                self._folders[folder] = _by_stem(sorted(os.listdir(folder or ".")))
            except PermissionError:
                endings = {*CAPTION_EXTENSIONS, *self.keep.extensions}
                names = sorted(
                    {stem + ending for ending in IMAGE_EXTENSIONS} | {f"{stem}.{ending}" for ending in endings}
                )
                return [name for name in names if os.path.isfile(os.path.join(folder, name))]
        return self._folders[folder].get(stem, [])

    def _add(self, path: str, name: str, problem: str, companions: tuple[str, ...]) -> None:
        # A link counts as another image, but a file that is reached over two folders counts once.
        folder, base = os.path.split(path)
        identity = self._real(folder), base
        if identity in self._seen:
            self.repeated += 1
            return
        self._seen.add(identity)
        self.images.append(LooseImage(path, name, problem, companions))


def _by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(os.path.splitext(name)[0], []).append(name)
    return groups


def _is_other(folder: str, name: str) -> bool:
    return not is_image(name) and not os.path.isdir(os.path.join(folder, name))


def loose_shard(index: int, images: Sequence[LooseImage]) -> ShardTask:
    """Plan a shard of images with keys."""
    source = LooseSource(images)
    return ShardTask(f"images-{index:05}", source, source.digest())


@dataclass(frozen=True)
class LooseSource:
    """Images of one shard."""

    images: Sequence[LooseImage]

    def list_samples(self) -> Listing:
        return Listing(list(map(_sample, self.images)), Counter())

    def digest(self) -> str:
        rows: list[list[str | int]] = []
        for image in self.images:  # by their keys, since images of several folders may share their name
            files = {image.path: image.name} | _companion_files(image)
            rows += [[image.key, *file_state(path, printable(name))] for path, name in files.items()]
        return digest(rows)


def _companion_files(image: LooseImage) -> dict[str, str]:
    return {os.path.join(os.path.dirname(image.path), name): name for name in image.companions}


def _sample(image: LooseImage) -> Sample:
    source = printable(image.name)
    if image.problem:
        return Sample(image.key, source, None, image.problem)
    companions = tuple(
        Companion(os.path.splitext(name)[1].lstrip("."), file_entry(path, name))
        for path, name in _companion_files(image).items()
    )
    return Sample(image.key, source, file_entry(image.path, source), companions=companions)
