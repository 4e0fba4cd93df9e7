"""Find the weights in what a training program stored: under which keys they are, and their names."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn

from ...tokenizer.wording import shortened
from .pickle_machine import Made, OtherKey
from .rebuilt_tensors import is_tensor

WRAPPERS = ("ema", "state_dict", "model", "module", "trainer")
"""Keys under which training programs store the weights; averaged ones, with which projects report results, come first."""
COMMON_PREFIXES = ("module.", "_orig_mod.")
"""What torch's data parallel and compiled modules write before all names."""
WHOLE = 0.5
"""Fraction of the tensors under another key that a whole state dict has at least; averages leave out what is no parameter."""
OPTIMIZER = {"state", "param_groups"}
"""Keys of what an optimizer stores."""
HOLDERS = (Made, Mapping, list, tuple, nn.Module)
DEEPEST = 64
"""Max modules within modules, and sections within sections."""
LONGEST = 1000
"""Max characters of a name."""
LARGEST_KEY = 1 << 63
"""Bound of the numbers that are keys; Python writes no number of thousands of digits."""


class Found(NamedTuple):
    """A state dict."""

    path: tuple[str, ...]
    """The keys that lead to it."""
    tensors: dict[str, Any]
    """By name, as the file describes them."""
    content: Any
    """What the file has there."""

    def lost(self) -> str:
        """Return why a tensor beside them has no name in the state dict, as the end of a sentence; "" if all have one."""
        return _lost(self.content)


def find_state_dicts(content: Any, wrappers: Sequence[str] = ()) -> list[Found]:
    """Return the state dict in the content of a file, at any of WRAPPERS or `wrappers` or under the only key that has tensors.

    Of several the first counts that is whole: one with less than half the tensors of another is not. There are none without
    tensors, and several where it is not clear which is meant.
    """
    return [_without_common_prefixes(found) for found in _find(content, DEEPEST, set(), (*WRAPPERS, *wrappers))]


def _without_common_prefixes(found: Found) -> Found:
    tensors = found.tensors
    for prefix in COMMON_PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return found._replace(tensors=tensors)


def _find(content: Any, depth: int, known: set[int], wrappers: Sequence[str]) -> list[Found]:
    items = _items(content)
    if not items or not depth or id(content) in known:
        return []
    known.add(id(content))  # a file may have one object under millions of keys
    inner = [_find_under(key, items.get(key), depth, known, wrappers) for key in wrappers]
    wrapped = [found for found in inner if len(found) == 1]
    largest = max((len(found[0].tensors) for found in wrapped), default=0)
    for found in wrapped:
        if len(found[0].tensors) >= largest * WHOLE:
            return found
    tensors = {name: item for name, item, why in _walk(content) if not why}
    if tensors:
        return [Found((), tensors, content)]
    inner += [
        _find_under(str(key), value, depth, known, wrappers) for key, value in items.items() if key not in wrappers
    ]
    clear = [found for found in inner if len(found) == 1]
    return clear[0] if len(clear) == 1 else [each for found in inner for each in found]


def _find_under(key: str, value: Any, depth: int, known: set[int], wrappers: Sequence[str]) -> list[Found]:
    return [found._replace(path=(key, *found.path)) for found in _find(value, depth - 1, known, wrappers)]


def _items(value: Any) -> Mapping[Any, Any]:
    """Return the items of a mapping, or the attributes of an object, whose keys are texts or numbers that can be written."""
    return {key: item for key, item in _all_items(value).items() if isinstance(key, str) or _is_small(key)}


def _is_small(key: Any) -> bool:
    return isinstance(key, int) and abs(key) < LARGEST_KEY


def _all_items(value: Any) -> Mapping[Any, Any]:
    if isinstance(value, nn.Module):
        return value.state_dict()
    if isinstance(value, Made):
        return value.items or (value.state if isinstance(value.state, dict) else {})
    return value if isinstance(value, Mapping) else {}


def _walk(content: Any) -> Iterator[tuple[str, Any, str]]:
    """Yield the items of a state dict, of a pickled module, or of a module of TorchScript, with those of its modules.

    Each has its name, and "" if it is a tensor, or else why tensors within it would have no name in a state dict.
    """
    waiting: list[tuple[str, Any, int]] = [("", content, DEEPEST)]
    known = set()
    while waiting:
        prefix, value, depth = waiting.pop()
        if id(value) in known:
            continue
        known.add(id(value))
        if not depth:
            yield "", value, f"more than {DEEPEST} modules deep"
            continue
        for key, item in _all_items(value).items():
            if not isinstance(key, str) and not _is_small(key):
                kind = key.kind if isinstance(key, OtherKey) else type(key).__name__
                yield "", item, f"under a key that is no text (of the type {kind})"
                continue
            name = f"{prefix}{key}"
            if len(name) > LONGEST:
                yield "", item, f"with a name of more than {LONGEST} characters, {shortened(name)}"
            elif is_tensor(item):
                yield name, item, ""
            elif key in ("_parameters", "_buffers"):
                waiting.append((prefix, item, depth - 1))
            elif key == "_modules":
                waiting += [(f"{prefix}{child}.", module, depth - 1) for child, module in _items(item).items()]
            elif isinstance(item, Made) and item.name.startswith("__torch__"):
                waiting.append((f"{name}.", item, depth - 1))
            else:
                yield name, item, f"within {shortened(name)}, beside those of the state dict"


def _lost(content: Any) -> str:
    """Return why the first tensor that a state dict leaves out has no name in it, or ""."""
    known: set[int] = set()
    return next((why for _, item, why in _walk(content) if why and has_tensors(item, known)), "")


def has_tensors(value: Any, known: set[int] | None = None) -> bool:
    """Return whether there are tensors in a value, those of optimizers left out, and what has an id in `known`."""
    waiting, known = [value], set() if known is None else known
    while waiting:
        value = waiting.pop()
        if is_tensor(value):
            return True
        if id(value) in known or not isinstance(value, HOLDERS):
            continue
        known.add(id(value))
        items = _all_items(value)
        if items.keys() >= OPTIMIZER:
            continue
        waiting += value if isinstance(value, list | tuple) else items.values()
        if isinstance(value, Made):
            waiting += value.arguments
    return False
