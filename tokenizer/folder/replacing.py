"""Replace the files of a tokenizer folder together: a stop at any moment leaves all of the old or all of the new ones."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..files import aside_folder

NEW_FILES = ".vistok-new"
"""Folder of files that are complete, and that are being moved to their places in the folder around it."""
LAST = "config.json"
"""The file without which a folder is no tokenizer."""


@contextmanager
def replacing_files(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to write in; its files then replace those of the same path in `folder`, or none does.

    Once all are written, a rename decides that the new ones are taken; `finish_replacing` goes on with a move that was cut.
    Other files in `folder` stay. Writers take turns. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with aside_folder(folder / NEW_FILES) as aside:
        finish_replacing(folder)
        files = aside / "files"
        files.mkdir()
        try:
            yield files
        except OSError as error:  # which names where the file was to be
            if error.filename and Path(error.filename).is_relative_to(files):
                error.filename = str(folder / Path(error.filename).relative_to(files))
            raise
        files.rename(folder / NEW_FILES)
        finish_replacing(folder)


def finish_replacing(folder: Path) -> None:
    """Move complete files that a stop has left aside to their places; raise OSError. Any process may do it at any time."""
    new = folder / NEW_FILES
    if not new.is_dir():
        return
    found = (Path(place, name).relative_to(new) for place, _, names in os.walk(new) for name in names)
    for file in sorted(found, key=lambda file: (file == Path(LAST), file)):
        with suppress(FileNotFoundError):  # another process has moved it
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (new / file).replace(folder / file)
    shutil.rmtree(new, ignore_errors=True)
