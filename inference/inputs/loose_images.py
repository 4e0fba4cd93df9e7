"""Images that are files of their own: found in folders or given one by one, and gathered into shards."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from ...images.finding.index import IMAGE_EXTENSIONS, file_entry, folder_files, is_image, problem_of
from ...images.finding.inputs import Input, printable
from .digests import digest, file_facts, kind_of
from .keep import CAPTION_EXTENSIONS, Keep
from .samples import Kept, Listing, PlannedShard, Sample

LOOSE_SHARD = "images-{:05d}"
LOOSE_PATTERN = r"images-\d{5,}"
LONGEST_NAME = 255


class LooseImage(NamedTuple):
    """A file that is tokenized."""

    path: str
    name: str
    """Relative to the folder that was given, or the last part of a path that was given."""
    problem: str
    """Why it cannot be read."""
    beside: tuple[str, ...]
    """Names in its folder of the files that are carried over with it."""


class _Folder(NamedTuple):
    """What is in a folder, by names without their endings."""

    images: set[str]
    others: dict[str, list[str]]


@dataclass
class LooseImages:
    """All images that are files of their own, each once."""

    keep: Keep
    images: list[LooseImage] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    """Images that were given more than once, the first time not counted."""
    _seen: set[tuple[str, str]] = field(default_factory=set)
    _folders: dict[str, _Folder] = field(default_factory=dict)
    _real: dict[str, str] = field(default_factory=dict)
    """Real path of each folder: one look for all its files."""

    def add_folder(self, folder: str, left_out: str | None) -> None:
        """Add the images of a folder that is walked, and count the files that are passed over."""
        names = folder_files(folder, left_out)
        others = [name for name in names if not is_image(name)]
        stems: dict[str, list[str]] = {}
        for name in others:
            stems.setdefault(os.path.splitext(name)[0], []).append(name)
        kept: set[str] = set()
        for name in names:
            if is_image(name):
                beside = self._chosen(stems.get(os.path.splitext(name)[0], []))
                kept.update(beside)
                path = os.path.join(folder, name)
                self._add(path, name, problem_of(path), tuple(os.path.basename(other) for other in beside))
        self.passed_over.update(kind_of(name) for name in others if name not in kept)

    def add_file(self, given: Input) -> None:
        """Add one file, whatever its ending, unless it belongs to an image beside it."""
        folder, base = os.path.split(given.path)
        beside: list[str] = []
        if given.problem:  # there may be no name, as in `missing/`, or one that is longer than any file's
            base = os.path.basename(given.path.rstrip("/"))[:LONGEST_NAME]
        if not given.problem:
            there = self._there(folder, os.path.splitext(base)[0])
            beside = self._chosen(there.others.get(os.path.splitext(base)[0], []))
            if not is_image(base) and os.path.splitext(base)[0] in there.images:
                if base not in beside:
                    self.passed_over[kind_of(base)] += 1
                return
        self._add(given.path, base, given.problem or problem_of(given.path), tuple(b for b in beside if b != base))

    def _there(self, folder: str, stem: str) -> _Folder:
        """Return what is in a folder; in one that may be entered but not listed, what may be beside the file `stem`."""
        if folder not in self._folders:
            try:
                self._folders[folder] = _folder(folder, os.listdir(folder or "."))
            except PermissionError:
                endings = [
                    *IMAGE_EXTENSIONS,
                    *(f".{extension}" for extension in (*CAPTION_EXTENSIONS, *self.keep.extensions)),
                ]
                names = {stem + ending for ending in endings}
                return _folder(folder, [name for name in names if os.path.isfile(os.path.join(folder, name))])
        return self._folders[folder]

    def _chosen(self, names: list[str]) -> list[str]:
        return [name for name in names if self.keep.beside(os.path.splitext(name)[1].lstrip("."))]

    def _add(self, path: str, name: str, problem: str, beside: tuple[str, ...]) -> None:
        # A link is an image of its own, but one file reached over two folders is not.
        folder, base = os.path.split(path)
        if folder not in self._real:
            self._real[folder] = os.path.realpath(folder)
        identity = self._real[folder], base
        if identity in self._seen:
            self.repeated += 1
            return
        self._seen.add(identity)
        self.images.append(LooseImage(path, name, problem, beside))


def loose_shard(number: int, images: Sequence[LooseImage], keys: Sequence[str]) -> PlannedShard:
    """Plan a shard of images under their keys."""
    inputs_now = partial(_inputs, images, keys)
    return PlannedShard(LOOSE_SHARD.format(number), inputs_now(), partial(_listing, images, keys), inputs_now)


def _listing(images: Sequence[LooseImage], keys: Sequence[str]) -> Listing:
    return Listing([_sample(image, key) for image, key in zip(images, keys, strict=True)], Counter())


def _sample(image: LooseImage, key: str) -> Sample:
    source = printable(image.name)
    if image.problem:
        return Sample(key, source, None, image.problem)
    folder = os.path.dirname(image.path)
    kept = tuple(
        Kept(os.path.splitext(name)[1].lstrip("."), file_entry(os.path.join(folder, name), printable(name)))
        for name in image.beside
    )
    return Sample(key, source, file_entry(image.path, source), kept=kept)


def _inputs(images: Sequence[LooseImage], keys: Sequence[str]) -> str:
    facts: list[list[str | int]] = []
    for image, key in zip(images, keys, strict=True):  # names need not tell images of several folders apart
        facts.append([key, *file_facts(image.path, printable(image.name))])
        folder = os.path.dirname(image.path)
        facts += [[key, *file_facts(os.path.join(folder, name), printable(name))] for name in image.beside]
    return digest(facts)


def _folder(path: str, names: Iterable[str]) -> _Folder:
    images: set[str] = set()
    others: dict[str, list[str]] = {}
    for name in sorted(names):
        stem = os.path.splitext(name)[0]
        if is_image(name):
            images.add(stem)
        elif not os.path.isdir(os.path.join(path, name)):
            others.setdefault(stem, []).append(name)
    return _Folder(images, others)
