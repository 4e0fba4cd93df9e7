"""YAML to plain values: whatever is wrong with it is one sentence, and a key that comes twice is wrong."""

from collections.abc import Hashable
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """Safe, and no key comes twice in a section: YAML itself would take the last, without a word."""


def _section(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    seen = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
            problem = f"the key {key.value!r} comes twice in its section"
            raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
        seen.add((key.tag, str(key.value)))
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _section)


def yaml_values(text: str | bytes) -> Any:
    """Return the values in a YAML text; raise ValueError with what is wrong, and where, when it is not YAML."""
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"{error.problem or error.context}{where}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply, or within itself") from None
    except (yaml.YAMLError, ValueError) as error:  # bytes that are no text, a date that does not exist
        raise ValueError(" ".join(str(error).split())) from None
