"""What is in a tar shard: its members in their order, links followed, and never a damaged tar taken for a short one."""

import tarfile
from collections.abc import Iterator
from typing import NamedTuple

from .entry import Entry, printable
from .tar_headers import DamagedShard


class Member(NamedTuple):
    """A member of a tar."""

    name: str
    """As in the tar, printable."""
    kind: str
    """One of "file", "folder", "link", "device", "fifo", "sparse file", ..."""
    entry: Entry | None
    """The bytes of a file, or of the file that a link leads to."""
    problem: str = ""
    """A phrase that says why there is no entry ("is a fifo, not a file"); folders have neither."""


def tar_members(path: str) -> Iterator[Member]:
    """Yield the members of a tar."""
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                name = printable(member.name)
                if member.isfile():
                    yield Member(name, "file", Entry(path, member.offset_data, member.size, name))
                elif member.isdir():
                    yield Member(name, "folder", None)
                else:
                    yield Member(name, "link", None, "is a link, not a file")
    except (tarfile.TarError, EOFError) as error:
        raise DamagedShard(f"{path} is not a tar ({error}): repair or leave it out.") from None
