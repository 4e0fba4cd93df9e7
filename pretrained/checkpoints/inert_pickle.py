"""Read a pickle as plain data, of limited size."""

import pickletools
from typing import IO, Any

from .pickle_machine import DamagedPickleError, Machine

LARGEST = 1 << 25
"""Max bytes of a pickle, without the tensors; those of public checkpoints have about a million."""


class _Limited:
    """A file of which at most LARGEST bytes are read; pickletools would read as many as the pickle tells it."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._left = LARGEST

    def read(self, count: int) -> bytes:
        return self._counted(self._file.read(min(count, self._left + 1)))

    def readline(self) -> bytes:
        return self._counted(self._file.readline(self._left + 1))

    def _counted(self, content: bytes) -> bytes:
        self._left -= len(content)
        if self._left < 0:
            raise DamagedPickleError(f"it has more than {LARGEST} bytes besides its tensors")
        return content


def read_pickle(file: IO[bytes]) -> Any:
    """Return what the pickle at the position of `file` describes, and leave the file behind it.

    Dicts, lists, tuples, texts and numbers are themselves; all else is a Name, a Made, or None. Raises DamagedPickleError.
    """
    machine = Machine()
    try:
        for opcode, argument, _ in pickletools.genops(_Limited(file)):  # type: ignore[arg-type]
            if opcode.name == "STOP":
                return machine.stack.pop()
            machine.run(opcode.name, argument)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise DamagedPickleError(" ".join(str(error).split())[:80]) from None
    raise DamagedPickleError("it has no end")
