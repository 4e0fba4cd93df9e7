"""Compare imported tokenizers with the classes of transformers and diffusers, at the size that was published.

    python scripts/side_by_side.py --out results/side_by_side.json [--only janus-pro] [--size 256] [--images DIR]

Each reference gets random weights of its own (references/weights.py says which), is saved as its publisher does, imported, and
compared on the same photos in float32, in a process of its own. With several threads the reference takes one image after
another, vistok one on each thread. Rows of other references are kept. Exit status 1 where one failed, or tokens differ
by more than rounding.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from references.published import REFERENCES

PHOTOS = Path(__file__).parents[1] / "tests" / "photos"
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
COLUMNS = (
    ("tokens", "tokens"),
    ("differ", "differ"),
    ("round", "differ_by_rounding"),
    ("latents", "latent"),
    ("pixels", "pixels"),
)


def main() -> None:
    """Measure the references that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the results.")
    parser.add_argument("--only", choices=list(REFERENCES), action="append", help="May be repeated. Default: all.")
    parser.add_argument("--size", type=int, help="Sides of the images. Default: as published.")
    parser.add_argument("--images", type=Path, default=PHOTOS, help="Folder of photos. Default: tests/photos.")
    parser.add_argument("--count", type=int, default=2, help="Photos of it, the first by name. Default: 2.")
    parser.add_argument(
        "--threads", type=int, default=1, help="Of torch. Default: 1, which a busy machine disturbs least."
    )
    parser.add_argument("--seconds", type=float, default=240, help="For timing a reference, at least one round.")
    parser.add_argument("--timeout", type=float, default=1800, help="Seconds for a reference.")
    parser.add_argument("--child", choices=list(REFERENCES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return
    rows = json.loads(arguments.out.read_text())["rows"] if arguments.out.exists() else {}
    for name in arguments.only or list(REFERENCES):
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows[name] = row(name, arguments)
        arguments.out.write_text(
            json.dumps({"rows": {key: rows[key] for key in REFERENCES if key in rows}}, indent=1) + "\n"
        )
    print(table(rows))
    bad = [sentence for name, values in rows.items() if (sentence := fault(name, values))]
    print(*bad, sep="\n", end="\n" if bad else "", file=sys.stderr)
    sys.exit(1 if bad else 0)


def row(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure a reference in another process; a failure is a row with a sentence."""
    reference = REFERENCES[name]
    described = {
        "family": reference.family,
        "class": reference.name,
        "config": dict(reference.config),
        "size": arguments.size or reference.size,
    }
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "row.json"
        call = [sys.executable, __file__, "--out", str(written), "--child", name, "--images", str(arguments.images)]
        for option in ("count", "threads", "seconds"):
            call += [f"--{option}", str(getattr(arguments, option))]
        call += ["--size", str(described["size"])]
        try:
            done = subprocess.run(call, stderr=subprocess.PIPE, text=True, timeout=arguments.timeout)
        except subprocess.TimeoutExpired:
            return described | {"error": f"It took longer than {arguments.timeout:g} seconds."}
        if done.returncode < 0:
            return described | {"error": f"Signal {-done.returncode} ended it, as when memory runs out."}
        if done.returncode or not written.exists():
            return described | {"error": (done.stderr.strip().splitlines() or ["It ended without a result."])[-1]}
        return described | json.loads(written.read_text())


def child(arguments: argparse.Namespace) -> None:
    """Measure one reference in this process."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from references.measuring import measure

    torch.set_num_threads(arguments.threads)
    photos = sorted(path for path in arguments.images.iterdir() if path.suffix.lower() in SUFFIXES)[: arguments.count]
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(REFERENCES[arguments.child], arguments.size, photos, Path(folder), arguments.seconds)
    arguments.out.write_text(json.dumps(measured))


def fault(name: str, values: dict[str, Any]) -> str:
    """Return a sentence about what is wrong with a row, or nothing."""
    if "error" in values:
        return f"{name}: {values['error']}"
    wrong = values["differ"] - values["differ_by_rounding"]
    return f"{name}: {wrong} tokens differ by more than rounding." if wrong else ""


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Return what was found as an aligned table of at most 80 columns; seconds of the reference come before vistok's."""
    lines = [["", "size", *(title for title, _ in COLUMNS), "encode", "decode"]]
    for name, values in rows.items():
        if "error" in values:
            lines.append([name, str(values["size"]), "failed", *[""] * (len(COLUMNS) + 1)])
            continue
        cells = [shown(values.get(key)) for _, key in COLUMNS]
        lines.append([name, str(values["size"]), *cells, *(seconds(values.get(part)) for part in ("encode", "decode"))])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        " ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def shown(value: float | None) -> str:
    """Return a count or a difference."""
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.1e}"


def seconds(part: dict[str, Any] | None) -> str:
    """Return the seconds that cores worked for an image, of the reference and of vistok."""
    return f"{part['reference']['core_seconds']:.1f} {part['vistok']['core_seconds']:.1f}" if part else "-"


if __name__ == "__main__":
    main()
