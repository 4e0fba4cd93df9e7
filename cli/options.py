"""Options that commands share, and checks of what they are given. Imports no torch."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from .. import __version__

Entry = TypeVar("Entry")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"vistok {__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
]
DecodingBatchOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Images per batch, of 256 x 256 where sizes differ. No pixel depends on it.",
        show_default="64, on a CPU 16 or one per core",
    ),
]
DecoderOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Decoder of the tokenizer folder: plain, or an extra one such as generative.",
    ),
]
SeedOption = Annotated[
    int, typer.Option(min=0, max=2**63 - 1, help="Seed of the noise of an extra decoder; it decides the details.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the summary as one line of JSON.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
LpipsWeightsOption = Annotated[
    Path | None,
    typer.Option(help="File of torchvision's vgg16 weights for LPIPS.", show_default="torch's cache or a download"),
]
InceptionWeightsOption = Annotated[
    Path | None,
    typer.Option(
        help="File of torch-fidelity's Inception weights for rFID.", show_default="torch's cache or a download"
    ),
]


def find_entry(table: Mapping[str, Entry], option: str, name: str) -> Entry:
    """Return the entry that a user names by an option; raise ValueError when the table has none of that name."""
    if name not in table:
        from ..tokenizer.wording import unknown_choice  # late, as pydantic would delay `--help`

        raise ValueError(unknown_choice(option, f"--{option} {name!r}", name, list(table)))
    return table[name]


def check_output_folder(out: Path) -> None:
    """Raise ValueError unless --out is, or can become, a folder that can be written to."""
    nearest = next(path for path in (out.absolute(), *out.absolute().parents) if os.path.lexists(path))
    if not nearest.is_dir():
        what = "file" if nearest.exists() else "link to nowhere"
        raise ValueError(f"--out is {out}, but {nearest} is a {what}: give a folder.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ValueError(
            f"--out is {out}, but {nearest} cannot be written to: change its permissions, or give another."
        )
