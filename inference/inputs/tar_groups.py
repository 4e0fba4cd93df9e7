"""The members of a tar gathered into samples while they are listed, wherever in the tar the files of a sample are."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from ...images.file_entry import Readable
from ...images.finding.inputs import is_image
from .companions import Keep
from .keys import UniqueKeys, normalised_key, webdataset_extension, webdataset_key
from .samples import Companion, Sample, kind_of


class TarFile(NamedTuple):
    """A member of a tar, with its bytes or where they are; the fields are those of `Member`."""

    name: str
    kind: str
    entry: Readable | None
    problem: str = ""


@dataclass(slots=True)
class _Group:
    """The members of one key."""

    key: str
    """Its key in the output shard."""
    image: str = ""
    """Name of the image; empty until there is one."""
    waiting: list[TarFile] = field(default_factory=list)
    """Files that came before the image."""
    companions: list[Companion] = field(default_factory=list)
    extensions: set[str] = field(default_factory=set)
    """Those of the companions."""


class SampleGroups:
    """Makes samples of members; every member is in a sample, or counted in `passed_over`.

    A sample is yielded with the first files of its key that follow one another and have an image. Files of the same key that
    come later join its companions.
    """

    def __init__(self, keep: Keep):
        self.passed_over: Counter[str] = Counter()
        self._keep = keep
        self._keys = UniqueKeys()
        self._groups: dict[str, _Group] = {}

    def samples(self, members: Iterable[TarFile]) -> Iterator[Sample]:
        """Yield the samples of a tar in the order of their images, and those without an image at the end."""
        for key, neighbours in groupby(self._countable(members), lambda member: webdataset_key(member.name)):
            if os.path.basename(key):
                yield from self._add(key, list(neighbours))
            else:  # it takes no key from another
                yield from map(self._without_key, neighbours)
        for group in self._groups.values():
            if group.waiting:
                first, *others = group.waiting
                yield Sample(group.key, first.name, None, "the sample has no file with an image's ending")
                self.passed_over.update(kind_of(member.name) for member in others)

    def _countable(self, members: Iterable[TarFile]) -> Iterator[TarFile]:
        for member in members:
            if member.entry is None and not member.problem:
                self.passed_over[member.kind] += 1
            elif os.path.basename(webdataset_key(member.name)) or member.problem or is_image(member.name):
                yield member
            else:
                self.passed_over[kind_of(member.name)] += 1

    def _without_key(self, member: TarFile) -> Sample:
        problem = member.problem or f"{member.name} has nothing before its dot for a key"
        return Sample(normalised_key(webdataset_key(member.name)), member.name, None, problem)

    def _add(self, key: str, members: list[TarFile]) -> list[Sample]:
        """Return what becomes of neighbours of one key: the image, and a row for each that is neither image nor companion."""
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(self._keys.add(key))
        rows = [Sample(group.key, member.name, None, member.problem) for member in members if member.entry is None]
        whole = [*group.waiting, *(member for member in members if member.entry is not None)]
        if not group.image and (image := _image_of(whole)):
            group.image = image.name
            rows.insert(0, Sample(group.key, image.name, image.entry, companions=group.companions))
            whole = [member for member in whole if member is not image]
        group.waiting = [] if group.image else whole
        for member in whole if group.image else ():
            if is_image(member.name) and (_is_plain(member.name) or not _is_plain(group.image)):
                rows.append(Sample(group.key, member.name, None, f"{member.name} shares its key with {group.image}"))
            else:
                self._carry_over(member, group)
        return rows

    def _carry_over(self, member: TarFile, group: _Group) -> None:
        extension = webdataset_extension(member.name)
        if self._keep.keeps_member(extension) and extension not in group.extensions:
            assert member.entry is not None
            group.companions.append(Companion(extension, member.entry))
            group.extensions.add(extension)
        else:
            self.passed_over[kind_of(member.name)] += 1


def _image_of(members: list[TarFile]) -> TarFile | None:
    """Return the image: `1.seg.png` beside `1.png` describes it; beside `1.depth.png` alone both are of equal rank."""
    images = [member for member in members if is_image(member.name)]
    return next((member for member in images if _is_plain(member.name)), images[0] if images else None)


def _is_plain(name: str) -> bool:
    return "." not in webdataset_extension(name)
