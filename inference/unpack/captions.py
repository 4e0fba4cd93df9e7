"""The texts of documents, decoded, compared with what was packed, and written."""

import os
from pathlib import Path
from typing import NamedTuple

from ...sequences.text import TextTokenizer
from ...tokenizer.files import write_whole
from ..packed_shards.digests import digest_of_text
from ..packed_shards.reading import ReadDocument
from ..packed_shards.template import Template


class Caption(NamedTuple):
    """The caption of a document."""

    text: str
    """Empty for an image alone."""
    is_same: bool
    """Whether the ids give the very text that was packed; a text tokenizer that normalizes text gives another."""


def caption_of(read: ReadDocument, text: TextTokenizer, template: Template) -> Caption:
    """Return the caption that the ids of a document spell; raise ValueError, with a phrase, for ids that are no text."""
    try:
        before, after = (text.decode(ids.tolist()) if len(ids) else "" for ids in (read.before, read.after))
    except ValueError as error:
        raise ValueError(f"its text cannot be decoded ({str(error).rstrip('.')})") from None
    is_alone = not before and not after
    is_same = digest_of_text((before, after)) == read.document.text
    return Caption("" if is_alone else template.caption_of(before, after), is_same)


def caption_path(image: Path) -> Path:
    """Return where the caption of an image is written."""
    return image.with_name(f"{image.name.removesuffix(image.suffix)}.txt")


def is_there(path: Path, text: str) -> bool:
    """Return whether a file holds a caption already; raise ValueError when it holds anything else."""
    if not os.path.lexists(path):
        return False
    if path.is_file() and path.read_bytes() == text.encode():
        return True
    raise ValueError(f"{path} is there already: give another --out folder, or --overwrite to replace it.")


def write_caption(path: Path, text: str) -> None:
    """Write a caption; raise OSError."""
    if not (path.is_file() and path.read_bytes() == text.encode()):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
