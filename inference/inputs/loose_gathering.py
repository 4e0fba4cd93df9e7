"""Gathering loose images from folders, files and objects behind URLs, each once."""

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from ...images.file_entry import problem_of
from ...images.finding.inputs import IMAGE_EXTENSIONS, Input, is_image
from ...images.finding.remote import WITHOUT_GLOBS, RemoteFolder, RemoteObject
from ...tokenizer.remote_files import protocol_of
from .companions import CAPTION_EXTENSIONS, Keep
from .keys import MAX_NAME_BYTES
from .loose_images import LooseImage
from .samples import kind_of


@dataclass
class LooseImages:
    """All loose images, each once."""

    keep: Keep
    images: list[LooseImage] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    """Images that were given more than once, the first time not counted."""
    _given: dict[str, set[str]] = field(default_factory=dict)
    """Names of the images that were given one by one, by their real folders."""
    _walked: dict[str, tuple[Sequence[str], str]] = field(default_factory=dict)
    """By real folders: the sorted names of a walk, and the folder within them."""
    _folders: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """By folders of files that were given: the names that are no images, by their stems."""
    _stems: dict[str, set[str]] = field(default_factory=dict)
    """By folders of files that were given and are no images: the stems of the images there."""
    _names: dict[str, str] = field(default_factory=dict)
    """The folders of files that were given, so that all of its images have the same object."""
    _real: Callable[[str], str] = field(default_factory=lambda: cache(os.path.realpath))

    def add_folder(self, folder: str, names: Sequence[str]) -> None:
        """Add the images among the sorted names of files below a folder, and count the files that are passed over."""
        self._add_listed(folder, names, {}, self._real)

    def add_remote_folder(self, found: RemoteFolder, objects: Iterable[RemoteObject]) -> None:
        """Add the images among objects below a URL, and count the others."""
        by_name = {each.url.removeprefix(f"{found.url}/"): each for each in objects}
        self._add_listed(found.url, sorted(by_name), by_name, lambda url: url.rstrip("/"))

    def add_object(self, found: RemoteObject) -> None:
        """Add one object behind a URL, whatever its ending."""
        folder, _, name = found.url.rstrip("/").rpartition("/")
        if not self._is_repeated(folder, name):
            self._given.setdefault(folder, set()).add(name)
            shown = name.partition("?")[0] if protocol_of(folder) in WITHOUT_GLOBS else name
            self.images.append(LooseImage(folder, shown[:MAX_NAME_BYTES] or "index", found.problem, objects=(found,)))

    def add_file(self, given: Input) -> None:
        """Add one file, whatever its ending, unless it belongs to an image beside it."""
        if given.problem:  # there may be no name, as in `missing/`, or one that is longer than any file's
            name = os.path.basename(given.path.rstrip("/"))[:MAX_NAME_BYTES]
            self._add(given.path, LooseImage("", name, given.problem, other_path=given.path))
            return
        folder, base = os.path.split(given.path)
        folder = self._names.setdefault(folder, folder)
        stem = os.path.splitext(base)[0]
        companions = [
            name for name in self._beside(folder, stem) if self.keep.keeps_file(name) and not _is_folder(folder, name)
        ]
        if not is_image(base) and self._has_image(folder, stem):
            if base not in companions:
                self.passed_over[kind_of(base)] += 1
            return
        image = LooseImage(folder, base, "", tuple(name for name in companions if name != base))
        self._add(given.path, image)

    def _add_listed(
        self, folder: str, names: Sequence[str], objects: Mapping[str, RemoteObject], real: Callable[[str], str]
    ) -> None:
        others = [name for name in names if not is_image(name)]
        by_stem = _by_stem(others)
        kept: set[str] = set()
        within: dict[str, str] = {}  # real folders by folders below this one
        for name in names:
            if not is_image(name):
                continue
            beside = [each for each in by_stem.get(os.path.splitext(name)[0], ()) if self.keep.keeps_file(each)]
            kept.update(beside)
            parent, base = os.path.split(name)
            if parent not in within:
                within[parent] = real(os.path.join(folder, parent))
            if self._is_repeated(within[parent], base):
                continue
            companions = tuple(map(os.path.basename, beside))
            if objects:
                found = tuple(objects[each] for each in (name, *beside))
                self.images.append(LooseImage(folder, name, "", companions, objects=found))
            else:
                self.images.append(LooseImage(folder, name, problem_of(os.path.join(folder, name)), companions))
        for parent, there in within.items():
            self._walked.setdefault(there, (names, parent))
        self.passed_over.update(kind_of(name) for name in others if name not in kept)

    def _add(self, path: str, image: LooseImage) -> None:
        # A link counts as another image, but a file that is reached over two folders counts once.
        folder, base = os.path.split(path)
        folder = self._real(folder)
        if not self._is_repeated(folder, base):
            self._given.setdefault(folder, set()).add(image.name if base == image.name else base)
            self.images.append(image)

    def _is_repeated(self, folder: str, name: str) -> bool:
        """Return whether an image has been added before, and count it then."""
        is_there = name in self._given.get(folder, ())
        if not is_there and folder in self._walked and is_image(name):
            names, parent = self._walked[folder]
            index = bisect_left(names, path := os.path.join(parent, name))
            is_there = index < len(names) and names[index] == path
        self.repeated += is_there
        return is_there

    def _beside(self, folder: str, stem: str) -> list[str]:
        """Return the names `stem` with any ending but an image's in a folder; endings are tried where it may not be listed."""
        if folder not in self._folders:
            try:
                self._folders[folder] = _by_stem(
                    sorted(name for name in os.listdir(folder or ".") if not is_image(name))
                )
            except PermissionError:
                endings = {*CAPTION_EXTENSIONS, *self.keep.extensions}
                names = sorted(f"{stem}.{ending}" for ending in endings)
                return [name for name in names if os.path.isfile(os.path.join(folder, name))]
        return self._folders[folder].get(stem, [])

    def _has_image(self, folder: str, stem: str) -> bool:
        if folder not in self._stems:
            try:
                self._stems[folder] = {
                    os.path.splitext(name)[0] for name in os.listdir(folder or ".") if is_image(name)
                }
            except PermissionError:
                return any(os.path.isfile(os.path.join(folder, stem + ending)) for ending in IMAGE_EXTENSIONS)
        return stem in self._stems[folder]


def _by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(os.path.splitext(name)[0], []).append(name)
    return groups


def _is_folder(folder: str, name: str) -> bool:
    return os.path.isdir(os.path.join(folder, name))
