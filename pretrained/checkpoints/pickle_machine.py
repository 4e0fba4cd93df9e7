"""The instructions of a pickle as moves of plain data: nothing is imported and nothing is called, whatever they ask for."""

from collections.abc import Callable
from typing import Any


class DamagedPickleError(Exception):
    """A file is no pickle, ends too early, or has an object where another kind belongs."""


class Name(str):
    """A class or function that a pickle names, such as "os.system"; it is never looked up."""

    __slots__ = ()


class Made:
    """What a pickle would make by calling something: the name of what, and the arguments."""

    __slots__ = ("arguments", "items", "name", "state")

    def __init__(self, name: Any, arguments: Any):
        self.name = name if isinstance(name, Name) else Name()
        self.arguments: tuple[Any, ...] = arguments if isinstance(arguments, tuple) else ()
        self.items: dict[Any, Any] = {}
        """What the pickle would add as to a mapping."""
        self.state: Any = None
        """What the pickle would set as attributes."""


class OtherKey:
    """Stands for a key of a mapping that is no text and no number; such keys may be nested too deeply to be hashed."""

    __slots__ = ("kind",)

    def __init__(self, kind: str):
        self.kind = kind
        """Name of its type, such as "tuple"."""


class Machine:
    """The stack and the memo of a pickle. No opcode does more than move data."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._below: list[list[Any]] = []
        """The stacks under the marks."""
        self._memo: dict[int, Any] = {}

    def run(self, opcode: str, argument: Any) -> None:
        if opcode in ("PROTO", "FRAME"):
            return
        if opcode in ACTIONS:
            ACTIONS[opcode](self)
        elif opcode.endswith("GET"):
            self.push(self._memo[int(argument)])
        elif opcode.endswith("PUT"):
            self._memo[int(argument)] = self.stack[-1]
        elif opcode in ("GLOBAL", "INST"):
            name = Name(".".join(argument.split(" ", 1)))
            self.push(name if opcode == "GLOBAL" else Made(name, tuple(self.marked())))
        elif argument is None:
            raise DamagedPickleError(f"it has the instruction {opcode}")
        else:
            self.push(None if opcode == "PERSID" or opcode.startswith("EXT") else argument)

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def marked(self) -> list[Any]:
        """Remove and return what is above the last mark."""
        items, self.stack = self.stack, self._below.pop()
        return items

    def mark(self) -> None:
        self._below.append(self.stack)
        self.stack = []

    def memoize(self) -> None:
        self._memo[len(self._memo)] = self.stack[-1]

    def take(self, count: int) -> list[Any]:
        """Remove and return the last `count` objects."""
        if len(self.stack) < count:
            raise DamagedPickleError("it uses what is not there")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def make(self, values: list[Any]) -> None:
        name, arguments, *_ = values
        self.push(Made(name, arguments))

    def extend(self, values: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)

    def update(self, values: list[Any]) -> None:
        owner = self.stack[-1]
        items = owner.items if isinstance(owner, Made) else owner
        if isinstance(items, dict):
            items |= _mapping(values)

    def build(self) -> None:
        owner, state = self.take(2)
        if isinstance(owner, Made):
            owner.state = state
        self.push(owner)


def _mapping(values: list[Any]) -> dict[Any, Any]:
    return {_key(key): value for key, value in zip(values[::2], values[1::2], strict=True)}


def _key(key: Any) -> Any:
    return key if isinstance(key, str | int) else OtherKey("object" if isinstance(key, Made) else type(key).__name__)


def _pushed(make: Callable[[], Any]) -> Callable[[Machine], None]:
    return lambda machine: machine.push(make())


def _tuple_of(count: int) -> Callable[[Machine], None]:
    return lambda machine: machine.push(tuple(machine.take(count)))


ACTIONS: dict[str, Callable[[Machine], Any]] = {
    "NONE": _pushed(lambda: None),
    "NEWTRUE": _pushed(lambda: True),
    "NEWFALSE": _pushed(lambda: False),
    "EMPTY_LIST": _pushed(list),
    "EMPTY_DICT": _pushed(dict),
    "EMPTY_TUPLE": _pushed(tuple),
    "EMPTY_SET": _pushed(list),
    "MARK": Machine.mark,
    "MEMOIZE": Machine.memoize,
    "POP": lambda machine: machine.stack.pop() if machine.stack else machine.marked(),
    "POP_MARK": Machine.marked,
    "DUP": lambda machine: machine.push(machine.stack[-1]),
    "TUPLE": lambda machine: machine.push(tuple(machine.marked())),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "LIST": lambda machine: machine.push(machine.marked()),
    "FROZENSET": lambda machine: machine.push(machine.marked()),
    "DICT": lambda machine: machine.push(_mapping(machine.marked())),
    "APPEND": lambda machine: machine.extend(machine.take(1)),
    "APPENDS": lambda machine: machine.extend(machine.marked()),
    "ADDITEMS": lambda machine: machine.extend(machine.marked()),
    "SETITEM": lambda machine: machine.update(machine.take(2)),
    "SETITEMS": lambda machine: machine.update(machine.marked()),
    "STACK_GLOBAL": lambda machine: machine.push(Name(".".join(machine.take(2)))),
    "OBJ": lambda machine: machine.make([(values := machine.marked())[0], tuple(values[1:])]),
    "NEWOBJ": lambda machine: machine.make(machine.take(2)),
    "NEWOBJ_EX": lambda machine: machine.make(machine.take(3)),
    "REDUCE": lambda machine: machine.make(machine.take(2)),
    "BUILD": Machine.build,
    "BINPERSID": lambda machine: machine.make([Name("persistent"), tuple(machine.take(1))]),
}
"""What each opcode without an argument does; those with one are in `Machine.run`."""
