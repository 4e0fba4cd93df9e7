"""Tars written by `tarfile` or block by block, and what vistok reads of them."""

import io
import tarfile

from vistok.images.tars.members import tar_members

BLOCK = 512
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def write_tar(path, members, form=tarfile.GNU_FORMAT, **general):
    """Members: (name, content), or (name, target, type)."""
    with tarfile.open(path, "w", format=form, **general) as tar:
        for name, content, *kind in members:
            info = tarfile.TarInfo(name)
            if kind:
                info.type, info.linkname = kind[0], content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def header(name=b"a.jpg", size=b"00000000000", kind=b"0", magic=b"ustar\x0000", prefix=b"", rest=b"", signed=False):
    """A header block, field by field."""
    block = bytearray(BLOCK)
    fields = ((0, name), (100, b"0000644"), (124, size), (156, kind), (257, magic), (345, prefix), (386, rest))
    for place, field in fields:
        block[place : place + len(field)] = field
    block[148:156] = b" " * 8
    total = sum(block) - 256 * (sum(byte > 127 for byte in block) if signed else 0)
    block[148:156] = b"%06o\0 " % total
    return bytes(block)


def data(content):
    return content + bytes(-len(content) % BLOCK)


END = bytes(2 * BLOCK)


def listed(path):
    return [(member.name, member.kind, member.entry and member.entry.read()) for member in tar_members(str(path))]


def shard_entries(path):
    return [member.entry for member in tar_members(str(path)) if member.entry]


def contents(path):
    return [(member.name, member.entry.read()) for member in tar_members(str(path)) if member.entry]


def problems(path):
    return {member.name: member.problem for member in tar_members(str(path))}
