"""Loose images, each a file or an object behind a URL, and the shards that they are gathered into."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...images.file_entry import Readable, file_entry, printable
from ...images.finding.remote import RemoteObject, remote_objects
from ...images.remote_entry import RemoteEntry
from .input_files import digest, file_state, object_state
from .keys import name_key
from .samples import Companion, Listing, Sample, ShardTask

LOOSE_PATTERN = r"images-\d{5,}"


class LooseImage(NamedTuple):
    """A file that is tokenized; there may be a million of them, so nothing is stored that follows from the rest."""

    folder: str
    """The folder that was given, or that the file is in; the same object for all of its images."""
    name: str
    """Relative to the folder."""
    problem: str = ""
    companions: tuple[str, ...] = ()
    """Names in its folder of the files that are carried over with it."""
    unusual_key: str = ""
    """Its key in the output shard, where that does not follow from its name."""
    other_path: str = ""
    """Its path, where that is not folder and name."""
    objects: tuple[RemoteObject, ...] = ()
    """Behind a URL: the image and its companions, as they were when they were found."""

    @property
    def path(self) -> str:
        """The path or URL of the file."""
        return self.objects[0].url if self.objects else self.other_path or os.path.join(self.folder, self.name)

    @property
    def key(self) -> str:
        """Its key in the output shard."""
        return self.unusual_key or name_key(printable(self.name))

    def files(self) -> dict[str, str]:
        """Return the names of the image and its companions by their paths."""
        if self.objects:
            return dict(zip((each.url for each in self.objects), (self.name, *self.companions), strict=True))
        path = self.path
        return {path: self.name} | {os.path.join(os.path.dirname(path), name): name for name in self.companions}

    def entry(self) -> Readable:
        """Return the bytes of the image."""
        return _entry(self.path, printable(self.name), self.objects[:1])


def loose_shard(index: int, images: Sequence[LooseImage]) -> ShardTask:
    """Plan a shard of images; objects behind URLs are not asked for again."""
    known = {each.url: each for image in images for each in image.objects}
    return ShardTask(f"images-{index:05}", LooseSource(images), _digest(images, known))


@dataclass(frozen=True)
class LooseSource:
    """Images of one shard."""

    images: Sequence[LooseImage]

    def list_samples(self) -> Listing:
        return Listing(map(_sample, self.images), Counter())

    def digest(self) -> str:
        objects = remote_objects(each.url for image in self.images for each in image.objects)
        return _digest(self.images, {each.url: each for each in objects})


def _digest(images: Sequence[LooseImage], objects: dict[str, RemoteObject]) -> str:
    rows: list[list[str | int]] = []
    for image in images:  # by their keys, since images of several folders may share their name
        for path, name in image.files().items():
            shown = printable(name)
            state = object_state(objects[path], shown) if path in objects else file_state(path, shown)
            rows.append([image.key, *state])
    return digest(rows)


def _sample(image: LooseImage) -> Sample:
    source = printable(image.name)
    if image.problem:
        return Sample(image.key, source, None, image.problem)
    paths = list(image.files())[1:]
    companions = tuple(
        Companion(
            os.path.splitext(name)[1].lstrip("."), _entry(path, printable(name), image.objects[index : index + 1])
        )
        for index, (path, name) in enumerate(zip(paths, image.companions, strict=True), start=1)
    )
    return Sample(image.key, source, image.entry(), companions=companions)


def _entry(path: str, name: str, objects: Sequence[RemoteObject]) -> Readable:
    if objects:
        return RemoteEntry(path, 0, objects[0].size, name, is_whole=True)
    return file_entry(path, name)
