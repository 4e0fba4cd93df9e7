"""Pickles that would run code, or take all memory, if they were unpickled."""

import builtins
import collections
import io
import os
import pickle
import struct
import subprocess
import zipfile

import torch

MAGIC = 0x1950A86A20F9469CFC6C
SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


class Calls:
    """Pickles as a call of any function."""

    def __init__(self, function, *arguments, state=None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


def hostile_contents(mark):
    """Return objects, by name, each of which would make the file `mark` when it is unpickled."""
    code = f"open({str(mark)!r}, 'w').close()"
    return {
        "os.system": Calls(os.system, f"touch {mark}"),
        "eval": Calls(builtins.eval, code),
        "exec": Calls(builtins.exec, code),
        "subprocess": Calls(subprocess.call, ["touch", str(mark)]),
        "chain": Calls(getattr, Calls(__import__, "os"), "system"),
        "applied chain": Calls(map, Calls(getattr, Calls(__import__, "os"), "system"), [f"touch {mark}"]),
        "torch.load": Calls(torch.load, io.BytesIO(pickle.dumps(Calls(os.system, f"touch {mark}")))),
        "state": Calls(collections.OrderedDict, state={"a": Calls(os.system, f"touch {mark}")}),
        "key": {Calls(os.mkdir, str(mark)): 1},
    }


def opcodes_that_call(mark):
    """Return pickles that call by rarer instructions: INST, OBJ, NEWOBJ, NEWOBJ_EX, STACK_GLOBAL, and nested GLOBAL names."""
    command = f"touch {mark}".encode()
    text = b"X" + struct.pack("<I", len(command)) + command
    return {
        "INST": b"(" + text + b"ios\nsystem\n.",
        "OBJ": b"(cos\nsystem\n" + text + b"o.",
        "NEWOBJ": b"\x80\x02cos\nsystem\n" + text + b"\x85\x81.",
        "NEWOBJ_EX": b"\x80\x04cos\nsystem\n" + text + b"\x85}\x92.",
        "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + text + b"\x85R.",
        "dotted": b"\x80\x04\x8c\x08builtins\x8c\x0e__import__.__x\x93" + text + b"\x85R.",
        "BUILD": b"\x80\x02cos\nsystem\n}X\x08\x00\x00\x00__call__cos\nsystem\nsb" + text + b"\x85R.",
    }


def zipped(pickled, values=None, compression=zipfile.ZIP_STORED):
    """Return a file of torch.save with this pickle and these bytes of storages by key."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        for key, stored in (values or {}).items():
            archive.writestr(f"archive/data/{key}", stored)
    return content.getvalue()


def legacy(pickled, values=None):
    """Return a file of torch before 1.6."""
    parts = [pickle.dumps(each, 2) for each in (MAGIC, 1001, SYSTEM)]
    stored = values or {}
    counted = [struct.pack("<q", len(value) // 4) + value for value in stored.values()]
    return b"".join([*parts, pickled, pickle.dumps(list(stored), 2), *counted])


class Persistent(pickle.Pickler):
    """Pickles storages as torch does."""

    def persistent_id(self, value):
        return value.persistent if isinstance(value, Stored) else None


class Stored:
    def __init__(self, key="0", count=4, kind=torch.FloatStorage):
        self.persistent = ("storage", kind, key, "cpu", count)


def tensor(storage, offset, size, stride, function=torch._utils._rebuild_tensor_v2):
    return Calls(function, storage, offset, size, stride, False, collections.OrderedDict())


def pickled(content, protocol=2):
    file = io.BytesIO()
    Persistent(file, protocol).dump(content)
    return file.getvalue()
