"""The file of the page, which replaces nothing but a page of vistok."""

from pathlib import Path

from ...cli.options import check_output_folder
from ...images.file_entry import open_regular
from ...report.page import GENERATOR
from ...tokenizer.remote_files import local_path, protocol_of
from ..token_shards.store import Store

PAGE_FILE = "tokens.html"
HEAD = 1024
"""Bytes at the beginning of a page that say whose it is."""


def is_other_page(store: Store) -> bool:
    """Return whether something is in the place of the page that is none of vistok."""
    if store.size(PAGE_FILE) is None:
        return PAGE_FILE in store.others()
    with store.open(PAGE_FILE) as file:
        return not _is_page(file.read(HEAD))


def page_of(folder: str) -> Path:
    """Return where the page of a folder is, unless its name is given; raise ValueError for a URL."""
    if protocol_of(folder):
        raise ValueError(f"The page about {folder} is written to this machine: give its name by --out {PAGE_FILE}.")
    return Path(local_path(folder)) / PAGE_FILE


def check_page(path: Path) -> None:
    """Raise ValueError unless the page can be written to a path, and replaces nothing but a page of vistok."""
    if path.is_dir():
        raise ValueError(f"--out is {path}, a folder: give a file, such as {path / PAGE_FILE}.")
    check_output_folder(path.parent)
    if path.exists():
        with open_regular(str(path)) as file:
            is_ours = _is_page(file.read(HEAD))
        if is_ours:
            return
        raise ValueError(f"--out is {path}, which is not a page of vistok and would be replaced: give another file.")


def _is_page(head: bytes) -> bool:
    return f'<meta name="generator" content="{GENERATOR}">'.encode() in head
