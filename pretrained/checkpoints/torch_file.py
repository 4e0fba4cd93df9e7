"""Read a file of torch.save or torch.jit.save, mapped into memory: what it describes, and where its values are."""

import struct
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias

from torch import Tensor

from .inert_pickle import LARGEST, read_pickle
from .mapped_file import DamagedFileError, MappedFile
from .pickle_machine import DamagedPickleError, Made
from .rebuilt_tensors import TENSORS, Storage, storage_of

ZIP = b"PK\x03\x04"
LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Mark, and lengths of the name and of what follows it."""
PICKLE = "/data.pkl"
MAGIC = 0x1950A86A20F9469CFC6C
"""First pickle of a file of torch before 1.6."""
PROTOCOL = 1001
BYTE_ORDER = "byteorder"
OTHER_BYTE_ORDER = "its numbers have the other byte order"

PLAIN = ("persistent", "collections.OrderedDict")
"""What torch writes with every state dict."""
HOLDERS = (Made, dict, list, tuple)
Values: TypeAlias = Callable[[Storage], Tensor]


class TorchFile(NamedTuple):
    """What a file holds."""

    content: Any
    """The pickle, as `read_pickle` returns it."""
    values: Values
    """Returns those of a storage; raises DamagedFileError when they are not there."""


def read_torch(path: Path, file: MappedFile) -> TorchFile:
    """Return the content of a file; raise DamagedFileError. No code in it is run, neither pickled nor TorchScript."""
    with path.open("rb") as stream:
        is_zip = stream.read(len(ZIP)) == ZIP
        stream.seek(0)
        try:
            return _read_zip(stream, file) if is_zip else _read_legacy(stream, file)
        except DamagedPickleError as error:
            raise DamagedFileError(f"its pickle cannot be read: {error}") from None


def _read_zip(stream: IO[bytes], file: MappedFile) -> TorchFile:
    try:
        archive = zipfile.ZipFile(stream)
    except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError):
        raise DamagedFileError("it is cut short: its table of contents, which is at the end, is missing") from None
    entries = {entry.filename: entry for entry in archive.infolist()}
    pickles = [name for name in entries if name.endswith(PICKLE) and name.count("/") == 1]
    if len(pickles) != 1:
        raise DamagedFileError("it is a zip file, but not one of torch")
    folder = pickles[0].removesuffix(PICKLE)
    content = read_pickle(BytesIO(_read_entry(archive, entries[pickles[0]])))
    if f"{folder}/{BYTE_ORDER}" in entries and _read_entry(archive, entries[f"{folder}/{BYTE_ORDER}"]) != b"little":
        raise DamagedFileError(OTHER_BYTE_ORDER)

    def values(storage: Storage) -> Tensor:
        name = f"{folder}/data/{storage.key}"
        if name not in entries:
            raise DamagedFileError(f"the values {storage.key[:40]} of a tensor are missing")
        start = _start(entries[name], file)
        if storage.length * storage.dtype.itemsize > entries[name].file_size:
            raise DamagedFileError(f"the values {storage.key[:40]} of a tensor are cut short")
        return file.values(start, storage.length, storage.dtype)

    return TorchFile(content, values)


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    _check_stored(entry)
    if entry.file_size > LARGEST:
        raise DamagedFileError(f"its {entry.filename[-20:]} has more than {LARGEST} bytes")
    try:
        return archive.read(entry)
    except (zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError, NotImplementedError, struct.error):
        raise DamagedFileError(f"its {entry.filename[-20:]} cannot be read") from None


def _start(entry: zipfile.ZipInfo, file: MappedFile) -> int:
    """Return the first byte of an entry, which comes after a copy of its name."""
    _check_stored(entry)
    header = file.content(entry.header_offset, LOCAL_HEADER.size)
    if len(header) < LOCAL_HEADER.size or not header.startswith(ZIP):
        raise DamagedFileError(f"its {entry.filename[-20:]} is not where it should be")
    _, name, extra = LOCAL_HEADER.unpack(header)
    return entry.header_offset + LOCAL_HEADER.size + name + extra


def _check_stored(entry: zipfile.ZipInfo) -> None:
    """Refuse what would be larger in memory than on the disk."""
    if entry.compress_type != zipfile.ZIP_STORED:
        raise DamagedFileError(f"its {entry.filename[-20:]} is compressed, as torch never writes it")


def _read_legacy(stream: IO[bytes], file: MappedFile) -> TorchFile:
    if read_pickle(stream) != MAGIC or read_pickle(stream) != PROTOCOL:
        raise DamagedFileError("it is not a file of torch.save")
    system = read_pickle(stream)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise DamagedFileError(OTHER_BYTE_ORDER)
    content = read_pickle(stream)
    keys = read_pickle(stream)
    storages = {storage.key: storage for storage in map(storage_of, all_made(content)) if storage}
    starts = {}
    position = stream.tell()
    for key in keys if isinstance(keys, list) else []:
        if not isinstance(key, str) or key not in storages:
            raise DamagedFileError("it lists values that no tensor has")
        starts[key] = position + 8  # after the count of values
        position = starts[key] + storages[key].length * storages[key].dtype.itemsize

    def values(storage: Storage) -> Tensor:
        if storage.key not in starts or storage != storages[storage.key]:
            raise DamagedFileError(f"the values {storage.key[:40]} of a tensor are missing")
        return file.values(starts[storage.key], storage.length, storage.dtype)

    return TorchFile(content, values)


def all_made(content: Any) -> list[Made]:
    """Return everything in a pickle that is not plain data."""
    found, waiting, known = [], [value for value in [content] if isinstance(value, HOLDERS)], set()
    while waiting:
        value = waiting.pop()
        if id(value) in known:
            continue
        if isinstance(value, Made):
            found.append(value)
            inner = [*value.arguments, *value.items.values(), value.state]
        else:
            inner = list(value.values()) if isinstance(value, dict) else list(value)
        known.add(id(value))
        waiting += [each for each in inner if isinstance(each, HOLDERS)]
    return found


def may_make_tensors(content: Any) -> bool:
    """Return whether code that a pickle names could make a state dict where there is none; a list is never one."""
    if isinstance(content, list | tuple):
        return False
    return any(made.name not in (*TENSORS, *PLAIN) for made in all_made(content))
