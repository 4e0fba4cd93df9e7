"""The keys of a million file names, without a list of them."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from .keys import UniqueKeys, key_with_ending, name_key


def unusual_keys(names: Sequence[str]) -> dict[int, str]:
    """Return the keys that are not `name_key` of their names, by the indices of the names, so that all keys differ.

    All keys together are `make_unique(keys_of_names(names))`, in little memory for a million names: only those whose
    keys have equal hashes are compared.
    """
    plain = _hashes(name_key(name) for name in names)
    counts = Counter(name_key(names[index]) for index in _repeated(plain))
    endings = {index: key_with_ending(names[index]) for index in _repeated(plain) if counts[name_key(names[index])] > 1}
    hashes = plain
    for index, key in endings.items():
        hashes[index] = hash(key)
    chosen = _repeated(hashes)
    while True:
        unique = UniqueKeys()
        keys = {index: unique.add(endings.get(index) or name_key(names[index])) for index in chosen}
        in_the_way = np.flatnonzero(np.isin(hashes, _hashes(keys.values()))).tolist()
        if len(chosen) == len(found := sorted({*chosen, *in_the_way})):
            return {index: key for index, key in (endings | keys).items() if key != name_key(names[index])}
        chosen = found


def _hashes(keys: Iterable[str]) -> np.ndarray:
    return np.fromiter(map(hash, keys), np.int64)


def _repeated(hashes: np.ndarray) -> list[int]:
    """Return the indices of the hashes that occur more than once."""
    values, counts = np.unique(hashes, return_counts=True)
    return np.flatnonzero(np.isin(hashes, values[counts > 1])).tolist()
