"""The model card of an imported tokenizer."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ...tokenizer.folder.config_json import TokenizerConfig
from .base import Importer

BLOCK = 1 << 20


class Facts(NamedTuple):
    """How a checkpoint was imported."""

    digests: dict[str, str]
    """SHA-256 of each file, by its name."""
    found_at: str
    """The keys under which the file holds the weights, with dots between them."""
    trusted: bool
    """Whether it was unpickled."""
    settings: Sequence[str]
    """Those that were given by hand."""


def digests(files: Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 of files by their names."""
    return {path.name: _digest(path) for path in files}


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def card(out: Path, importer: Importer, config: TokenizerConfig, facts: Facts) -> str:
    """Return the text of the card."""
    files = " and ".join(f"`{name}` (SHA-256 `{digest}`)" for name, digest in facts.digests.items())
    notes = [
        *importer.notes,
        *([f"The weights are those under `{facts.found_at}` in the file."] if facts.found_at else []),
        *(["The file was unpickled (`--trust-pickle`)."] if facts.trusted else []),
        *(f"Set by hand: `--set {setting}`." for setting in facts.settings),
    ]
    return f"""# {out.resolve().name}

A {importer.title} tokenizer: {config.quantizer.name} quantizer, {config.architecture.coverage}.

Imported by vistok from {files}, a checkpoint for the code at {importer.source}.
Licence of the original weights: {importer.licence}.
{"".join(f"{chr(10)}- {note}" for note in notes)}
"""
