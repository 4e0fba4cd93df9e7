"""How a tar of tokens that vistok wrote is told from one of images."""

import tarfile
from typing import BinaryIO

TOKENS_ENDING = ".tokens.npy"
OWNER = "vistok"
"""User and group of the members, by which a tar of vistok is recognised."""


def holds_tokens(file: BinaryIO | None) -> bool | None:
    """Return whether vistok wrote a tar; None when it is damaged or empty, so that nobody can tell."""
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            first = tar.next()
    except (tarfile.TarError, OSError, EOFError, ValueError):
        return None
    return None if first is None else first.uname == OWNER and first.name.endswith(TOKENS_ENDING)
