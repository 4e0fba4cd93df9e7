"""What export-tokenizer wrote beside the files of another library, which do not hold all of a tokenizer's config."""

from pathlib import Path
from typing import NamedTuple

from ...tokenizer.config import parse_config
from ...tokenizer.folder.config_json import TokenizerConfig
from ..checkpoints.weight_files import read_object
from .base import Importer
from .card import digests
from .checkpoint import Checkpoint

FACTS_FILE = "vistok.json"


class Exported(NamedTuple):
    """What vistok.json says of a checkpoint."""

    config: TokenizerConfig | None = None
    """Of the tokenizer that was exported; None where nothing says it."""
    doubt: str = ""
    """A sentence where the file is there, but of other weights, else empty."""


def read_exported(path: Path, importer: Importer, checkpoint: Checkpoint) -> Exported:
    """Return what the vistok.json beside a checkpoint says of it; raise ValueError when its config is damaged."""
    facts_file = (path if path.is_dir() else path.parent) / FACTS_FILE
    if not importer.exported_as or not facts_file.is_file():
        return Exported()
    facts = read_object(facts_file)
    known = facts.get("sha256")
    if (
        facts.get("format") != importer.exported_as
        or not isinstance(known, dict)
        or any(known.get(name) != digest for name, digest in digests(checkpoint.files).items())
    ):
        return Exported(doubt=f"{facts_file} was not written for these weights, and was not used.")
    try:
        return Exported(parse_config(TokenizerConfig, facts.get("config")))
    except ValueError as error:
        raise ValueError(
            f"{facts_file} is damaged ({str(error).rstrip('.')}): export again, or move it away."
        ) from None
