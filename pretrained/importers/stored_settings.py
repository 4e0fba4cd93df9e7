"""Settings in the config.json beside a checkpoint, which a stranger wrote: each is checked before it is used."""

import json
from collections.abc import Mapping
from typing import Any

from ...tokenizer.wording import shown


def wrong_setting(key: str, value: Any, wanted: str) -> ValueError:
    """Return the error that a setting is not what it must be."""
    return ValueError(f"its config.json has {key} {_as_json(value)}, but it must be {wanted}")


def _as_json(value: Any) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else shown(value)


def truth_of(settings: Mapping[str, Any], key: str) -> bool | None:
    """Return the value of a key such as `model.normalises`, None where there is none; raise ValueError unless it is a bool."""
    *sections, last = key.split(".")
    owner: Any = settings
    for index, section in enumerate(sections, 1):
        owner = owner.get(section, {})
        if not isinstance(owner, Mapping):
            raise wrong_setting(".".join(sections[:index]), owner, f"a section with {key}")
    if last not in owner:
        return None
    if not isinstance(owner[last], bool):
        raise wrong_setting(key, owner[last], "true or false")
    return owner[last]


def side_lengths(settings: Mapping[str, Any], key: str) -> list[int] | None:
    """Return a list of one whole number or more, each 1 or more; None where it is not there. Raises ValueError."""
    if key not in settings:
        return None
    sides = settings[key]
    if not isinstance(sides, list) or not sides or not all(type(side) is int and side > 0 for side in sides):
        raise wrong_setting(key, sides, "a list of whole numbers from 1, such as [1, 2, 4]")
    return sides
