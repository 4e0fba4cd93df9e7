"""The configs that ship with the package, found by name: a run a file, an ablation a folder."""

import difflib
from pathlib import Path

SHIPPED = Path(__file__).parents[1] / "configs"
LAUNCH = "launch"
"""Folder of accelerate's launch files, which are not runs."""


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
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(
        f"There is no config {str(config)!r}: {hint}give the path of a YAML file, or the name of a shipped config "
        f"({', '.join(names)})."
    )
