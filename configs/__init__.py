"""Runs that ship with the package, values only: a run a file, an ablation a folder; found by name or path."""

import difflib
from pathlib import Path

SHIPPED = Path(__file__).parent
LAUNCH = "launch"
"""Folder of the launch files of accelerate, which are no runs."""


def shipped_configs() -> list[str]:
    """Return the names of the configs that ship: photo-f8, or folder/name."""
    files = (path.relative_to(SHIPPED).with_suffix("") for path in SHIPPED.rglob("*.yaml"))
    return sorted(path.as_posix() for path in files if path.parts[0] != LAUNCH)


def find_config(config: str | Path) -> Path:
    """Return the file of a config that is given by its path, or by the name of one that ships.

    Raises ValueError when there is neither.
    """
    path, names = Path(config), shipped_configs()
    if path.is_file():
        return path
    name = path.as_posix().removeprefix("configs/").removesuffix(".yaml")
    if name in names:
        return SHIPPED / f"{name}.yaml"
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give the path of a YAML file in it.")
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(
        f"There is no config {str(config)!r}: {hint}give the path of a YAML file, or the name of a shipped config "
        f"({', '.join(names)})."
    )
