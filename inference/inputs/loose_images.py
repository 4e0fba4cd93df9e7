"""Images that are files of their own: found in folders or given one by one, and gathered into shards."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ...images.file_entry import file_entry, printable, problem_of
from ...images.finding.index import folder_files
from ...images.finding.inputs import Input, is_image
from .companions import FolderContent, Keep, guess_folder, read_folder
from .input_files import digest, file_state
from .keys import MAX_NAME_BYTES
from .samples import Companion, Listing, Sample, ShardTask, kind_of, shard_task

LOOSE_SHARD = "images-{:05d}"
LOOSE_PATTERN = r"images-\d{5,}"


class LooseImage(NamedTuple):
    """A file that is tokenized."""

    path: str
    name: str
    """Relative to the folder that was given, or the last part of a path that was given."""
    problem: str
    """Why it cannot be read."""
    companions: tuple[str, ...]
    """Names in its folder of the files that are carried over with it."""


@dataclass
class LooseImages:
    """All images that are files of their own, each once."""

    keep: Keep
    images: list[LooseImage] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    """Images that were given more than once, the first time not counted."""
    _seen: set[tuple[str, str]] = field(default_factory=set)
    _folders: dict[str, FolderContent] = field(default_factory=dict)
    _real: dict[str, str] = field(default_factory=dict)
    """Real path of each folder, found once for all its files."""

    def add_folder(self, folder: str, left_out: str | None) -> None:
        """Walk a folder, add its images, and count the files that are passed over."""
        names = folder_files(folder, left_out)
        others = [name for name in names if not is_image(name)]
        by_stem: dict[str, list[str]] = {}
        for name in others:
            by_stem.setdefault(os.path.splitext(name)[0], []).append(name)
        kept: set[str] = set()
        for name in names:
            if is_image(name):
                companions = self._chosen(by_stem.get(os.path.splitext(name)[0], []))
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
        stem = os.path.splitext(base)[0]
        content = self._content(folder, stem)
        companions = self._chosen(content.others.get(stem, []))
        if not is_image(base) and stem in content.images:
            if base not in companions:
                self.passed_over[kind_of(base)] += 1
            return
        self._add(given.path, base, problem_of(given.path), tuple(name for name in companions if name != base))

    def _content(self, folder: str, stem: str) -> FolderContent:
        if folder not in self._folders:
            try:
                self._folders[folder] = read_folder(folder)
            except PermissionError:
                return guess_folder(folder, stem, self.keep)
        return self._folders[folder]

    def _chosen(self, names: list[str]) -> list[str]:
        return [name for name in names if self.keep.keeps_file(name)]

    def _add(self, path: str, name: str, problem: str, companions: tuple[str, ...]) -> None:
        # A link is an image of its own, but one file reached over two folders is not.
        folder, base = os.path.split(path)
        if folder not in self._real:
            self._real[folder] = os.path.realpath(folder)
        identity = self._real[folder], base
        if identity in self._seen:
            self.repeated += 1
            return
        self._seen.add(identity)
        self.images.append(LooseImage(path, name, problem, companions))


def loose_shard(index: int, images: Sequence[LooseImage], keys: Sequence[str]) -> ShardTask:
    """Plan a shard of images under their keys."""
    return shard_task(LOOSE_SHARD.format(index), LooseSource(images, keys))


@dataclass(frozen=True)
class LooseSource:
    """Images of one shard and the key of each."""

    images: Sequence[LooseImage]
    keys: Sequence[str]

    def list_samples(self) -> Listing:
        return Listing([_sample(image, key) for image, key in zip(self.images, self.keys, strict=True)], Counter())

    def digest(self) -> str:
        rows: list[list[str | int]] = []
        for image, key in zip(self.images, self.keys, strict=True):  # images of several folders may share their name
            rows.append([key, *file_state(image.path, printable(image.name))])
            folder = os.path.dirname(image.path)
            rows += [[key, *file_state(os.path.join(folder, name), printable(name))] for name in image.companions]
        return digest(rows)


def _sample(image: LooseImage, key: str) -> Sample:
    source = printable(image.name)
    if image.problem:
        return Sample(key, source, None, image.problem)
    folder = os.path.dirname(image.path)
    companions = tuple(
        Companion(os.path.splitext(name)[1].lstrip("."), file_entry(os.path.join(folder, name), printable(name)))
        for name in image.companions
    )
    return Sample(key, source, file_entry(image.path, source), companions=companions)
