"""A config as YAML: found by path or by name, read with overrides, checked, and written with every default."""

import difflib
import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..tokenizer.config import Config
from ..tokenizer.wording import did_you_mean, shown
from .config import TrainConfig, parse_train_config
from .decoder_model import complete_model

SHIPPED = Path(__file__).parents[1] / "configs"
LAUNCH = "launch"
"""Folder of accelerate's launch files, which are not runs."""
NUMBER = re.compile(r"[-+]?([0-9]+[.]?[0-9]*|[.][0-9]+)[eE][-+]?[0-9]+$")


def read_config(path: Path | str, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a YAML file, or a shipped one by its name, and apply overrides such as `optimizer.lr=1e-3`.

    A run of an extra decoder takes what it does not say of its tokenizer from that tokenizer's folder. Raises ValueError for
    the first thing wrong.
    """
    path = find_config(path)
    try:
        values = yaml_values(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not YAML ({error}): correct it.") from None
    if values is None:
        raise ValueError(
            f"{path} is empty, but a config has sections such as run, data and model: start from a shipped one."
        )
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds {shown(values)}, but a config is a mapping of sections.")
    for override in overrides:
        apply_override(values, override)
    complete_model(values)
    return parse_train_config(values)


def shipped_configs() -> list[str]:
    """Return the names of the configs that ship: photo-f8, or folder/name."""
    files = (path.relative_to(SHIPPED).with_suffix("") for path in SHIPPED.rglob("*.yaml"))
    return sorted(path.as_posix() for path in files if path.parts[0] != LAUNCH)


def find_config(config: str | Path) -> Path:
    """Return the file of a config given by its path or by the name of one that ships; raise ValueError if there is none."""
    path, names = Path(config), shipped_configs()
    if path.is_file():
        return path
    name = path.as_posix().removeprefix("configs/").removesuffix(".yaml")
    if name in names:
        return SHIPPED / f"{name}.yaml"
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give the path of a YAML file in it.")
    near = difflib.get_close_matches(name, names, n=1)
    otherwise = f"give the path of a YAML file, or the name of a shipped config ({', '.join(names)})."
    raise ValueError(f"There is no config {str(config)!r}: {did_you_mean(near[0] if near else None, otherwise)}")


def config_text(config: Config) -> str:
    """Return the resolved config as YAML, with every default."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def apply_override(values: dict[str, Any], override: str) -> None:
    """Set one `section.key=value` in plain values, in place; raise ValueError when it does not have that form."""
    key, separator, text = override.partition("=")
    if not separator or not all(part.strip() for part in key.split(".")):
        raise ValueError(f"Override {override!r} is not of the form section.key=value.")
    *sections, last = key.split(".")
    owner = values
    for section in sections:
        owner = owner.setdefault(section, {})
        if not isinstance(owner, dict):
            raise ValueError(f"Override {override!r} goes through {section!r}, which is a value and not a section.")
    try:
        owner[last] = yaml_values(text)
    except ValueError as error:
        raise ValueError(f"The value {text!r} is not YAML ({error}): correct it.") from None


def yaml_values(text: str | bytes) -> Any:
    """Return the values in a YAML text; raise ValueError with what is wrong, and where.

    A key that is twice in its section is wrong too; YAML itself would silently take the last.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        parts = [error.context] if (error.problem or "but").startswith("but") else []  # half a sentence
        problem = ", ".join(filter(None, [*parts, error.problem]))
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"{problem}{where}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply, or within itself") from None
    except yaml.YAMLError as error:  # bytes that are not text
        raise ValueError(" ".join(str(error).split())) from None


class _Loader(yaml.SafeLoader):
    """A safe loader whose mappings have unique keys, and for which 1e-3 is a number and 2024-01-31 text."""

    yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    seen = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
            problem = f"the key {key.value!r} comes twice in its section"
            raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
        seen.add((key.tag, str(key.value)))
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", NUMBER, list("-+.0123456789"))
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
