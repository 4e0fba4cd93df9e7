"""The samples of a webdataset shard: files of one key, as webdataset groups them, of which one is the image."""

from collections.abc import Iterator
from dataclasses import dataclass

from ...images.file_entry import file_size
from ...images.tars.members import Member, tar_members
from .companions import Keep
from .input_files import digest, file_state
from .samples import Listing
from .tar_groups import SampleGroups


@dataclass(frozen=True)
class TarSource:
    """A tar whose samples become one shard."""

    path: str
    name: str
    keep: Keep

    def list_samples(self) -> Listing:
        """List the samples under normalised keys; every member is in a sample or counted as passed over."""
        groups, members = SampleGroups(self.keep), ListedMembers(tar_members(self.path), file_size(self.path))
        return Listing(groups.samples(members), groups.passed_over, members.fraction)

    def digest(self) -> str:
        return digest([file_state(self.path, self.name)])


class ListedMembers:
    """An iterator of the members of a tar that knows how far it is."""

    def __init__(self, members: Iterator[Member], size: int):
        self._members = members
        self._size = size
        self._at = 0

    def __iter__(self) -> Iterator[Member]:
        for member in self._members:
            if member.entry is not None:
                self._at = max(self._at, member.entry.offset + member.entry.size)
            yield member
        self._at = self._size

    def fraction(self) -> float:
        """Return which fraction of the bytes has been listed."""
        return min(1.0, max(self._at, 1) / max(self._size, 1))
