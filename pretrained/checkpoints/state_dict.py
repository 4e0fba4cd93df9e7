"""Find the weights in what a training program stored: under which keys they are, and their names."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from torch import nn

from .inert_pickle import Made
from .rebuilt_tensors import is_tensor

WRAPPERS = ("ema", "state_dict", "model", "module", "trainer", "unitok")
"""Keys under which training programs store the weights; averaged weights, which their projects evaluate, come first."""
COMMON_PREFIXES = ("module.", "_orig_mod.")
"""What torch's data parallel and compiled modules write before all names."""
DEEPEST = 64
"""Max modules within modules, and sections within sections."""
LONGEST = 1000
"""Max characters of a name."""


class Found(NamedTuple):
    """A state dict."""

    path: tuple[str, ...]
    """The keys that lead to it."""
    tensors: dict[str, Any]
    """By name, as the file describes them."""


def find_state_dict(content: Any) -> Found | None:
    """Return the state dict in the content of a file, at any of WRAPPERS or under the only key that has tensors."""
    found = _find(content, DEEPEST, set())
    if found is None:
        return None
    tensors = found.tensors
    for prefix in COMMON_PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return Found(found.path, tensors)


def _find(content: Any, depth: int, known: set[int]) -> Found | None:
    items = _items(content)
    if not items or not depth or id(content) in known:
        return None
    known.add(id(content))  # a file may have one object under millions of keys
    for key in WRAPPERS:
        if found := _find(items.get(key), depth - 1, known):
            return Found((key, *found.path), found.tensors)
    tensors = dict(_named_tensors(content))
    if tensors:
        return Found((), tensors)
    others = [(str(key), _find(value, depth - 1, known)) for key, value in items.items() if key not in WRAPPERS]
    inner = [Found((key, *found.path), found.tensors) for key, found in others if found]
    return inner[0] if len(inner) == 1 else None


def _items(value: Any) -> Mapping[Any, Any]:
    """Return the items of a mapping, or the attributes of an object."""
    if isinstance(value, nn.Module):
        return value.state_dict()
    if isinstance(value, Made):
        return value.items or (value.state if isinstance(value.state, dict) else {})
    return value if isinstance(value, Mapping) else {}


def _named_tensors(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield the tensors of a state dict, of a pickled module, or of a module of TorchScript, with those of its modules."""
    waiting: list[tuple[str, Any, int]] = [("", content, DEEPEST)]
    known = set()
    while waiting:
        prefix, value, depth = waiting.pop()
        if id(value) in known or not depth:
            continue
        known.add(id(value))
        for key, item in _items(value).items():
            name = f"{prefix}{key}"
            if len(name) > LONGEST:
                continue
            if is_tensor(item):
                yield name, item
            elif key in ("_parameters", "_buffers"):
                waiting.append((prefix, item, depth - 1))
            elif key == "_modules":
                waiting += [(f"{prefix}{child}.", module, depth - 1) for child, module in _items(item).items()]
            elif isinstance(item, Made) and item.name.startswith("__torch__"):
                waiting.append((f"{name}.", item, depth - 1))
