"""The samples of a webdataset shard, on this machine or behind a URL."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ...images.file_entry import Entry, Readable
from ...images.finding.inputs import is_image
from ...images.remote_entry import HeldEntry, RemoteEntry
from ...images.tars.members import tar_members
from ...tokenizer.remote_files import protocol_of
from .companions import Keep
from .input_files import digest, file_state, open_input
from .keys import webdataset_extension
from .samples import Listing
from .tar_groups import SampleGroups, TarFile

HELD_IMAGE, HELD_COMPANION = 1 << 20, 1 << 14
"""Bytes of a member behind a URL that are taken along while the tar is listed; of larger ones, a range is read later.

Images wait in memory for their turn, a few hundred of them; companions until their shard is written.
"""


@dataclass(frozen=True)
class TarSource:
    """A tar whose samples become one shard; behind a URL it is read once, from its start to its end, in ranges."""

    path: str
    name: str
    keep: Keep

    def list_samples(self) -> Listing:
        """List the samples under normalised keys; every member is in a sample or counted as passed over."""
        groups, members = SampleGroups(self.keep), ListedMembers(self.path)
        return Listing(groups.samples(members), groups.passed_over, members.fraction)

    def digest(self) -> str:
        return digest([file_state(self.path, self.name)])


class ListedMembers:
    """An iterator of the members of a tar that knows how far it is."""

    def __init__(self, path: str):
        self._path = path
        self._is_remote = bool(protocol_of(path))
        self._size = self._at = 1

    def __iter__(self) -> Iterator[TarFile]:
        with open_input(self._path) as file:
            self._size = max(1, file.seek(0, os.SEEK_END))
            for member in tar_members(self._path, file):
                if member.entry is not None:
                    self._at = max(self._at, member.entry.offset + member.entry.size)
                entry = _remote_entry(member.entry, file) if self._is_remote and member.entry else member.entry
                yield TarFile(member.name, member.kind, entry, member.problem)
        self._at = self._size

    def fraction(self) -> float:
        """Return which fraction of the bytes has been listed."""
        return min(1.0, self._at / self._size)


def _remote_entry(entry: Entry, file: BinaryIO) -> Readable:
    """Return a member of a tar behind a URL with its bytes, which are next in the file, or with where they are."""
    is_plain_image = is_image(entry.name) and "." not in webdataset_extension(entry.name)
    if entry.size > (HELD_IMAGE if is_plain_image else HELD_COMPANION):
        return RemoteEntry(entry.path, entry.offset, entry.size, entry.name)
    file.seek(entry.offset)
    return HeldEntry(file.read(entry.size), entry.name)
