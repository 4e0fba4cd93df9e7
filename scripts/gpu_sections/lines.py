"""The JSON lines that sections write, without torch."""

import json
from pathlib import Path
from typing import Any


def write_line(out: Path, section: str, name: str, **facts: Any) -> None:
    """Append a line, in the file before this returns: the process may be killed at any moment."""
    line = json.dumps({"section": section, "name": name, **facts})
    with out.open("a") as file:
        file.write(line + "\n")
    print(line, flush=True)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines that were written, without one that was cut off."""
    lines = []
    for text in path.read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines
