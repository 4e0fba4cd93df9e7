"""Which files of a folder become a shard each, on this machine or behind a URL: those of others that hold images."""

import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from ...images.file_entry import open_regular
from ...images.finding.remote import REQUESTS, WITHOUT_GLOBS
from ...images.prefetch import ahead
from ...tokenizer.remote_files import protocol_of, read_start
from ...tokenizer.retries import StillFailingError
from .parquet_columns import has_pyarrow
from .parquet_samples import has_no_images
from .token_tars import holds_tokens

TAR, PARQUET = ".tar", ".parquet"
STATS = "_stats.json"
"""What img2dataset writes beside its shards, with a .parquet of the same rows; both are passed over."""
HEAD = 1 << 13
"""Bytes of a tar behind a URL that show whose it is."""
MAX_SILENT = 3
"""Shards that do not answer and are left to those who read them, who name them; with more it is the store."""


def shards_among(names: Sequence[str], path_of: Callable[[str], str]) -> tuple[set[str], set[str]]:
    """Return the shards among the files of a folder, without tables that describe images, and vistok's own tars.

    Each is looked into by its path or URL. Raises OSError when a store does not answer for more than MAX_SILENT shards.
    """
    shards = {name for name in names if is_shard(name)}
    if not shards:
        return shards, set()
    tars = {name for name in shards if bare(name).lower().endswith(TAR)}
    silent: list[str] = []
    folders = {os.path.dirname(name) for name in names} if len(tars) < len(shards) else set()
    with ThreadPoolExecutor(REQUESTS, thread_name_prefix="vistok-look") as pool:
        own = _those(pool, lambda name: _is_token_shard(path_of(name)), sorted(tars), silent)
        stems = {os.path.splitext(name)[0] for name in tars - own}

        def describes(name: str) -> bool:
            stem = os.path.splitext(name)[0]
            return stem in stems or _describes_images(path_of(name), stem in folders)

        tables = _those(pool, describes, sorted(shards - tars), silent)
    return shards - own - tables, own


def is_shard(path: str) -> bool:
    """Return whether a path or a URL has the ending of a tar or a parquet file."""
    return bare(path).lower().endswith((TAR, PARQUET))


def describes_shard(path: str) -> bool:
    """Return whether a local file is metadata of img2dataset, whose shard is beside it."""
    stem = path.removesuffix(STATS)
    if stem != path:
        return any(os.path.exists(stem + ending) for ending in (TAR, PARQUET, ""))
    stem, ending = os.path.splitext(path)
    is_beside = ending.lower() == PARQUET and any(os.path.exists(stem + other) for other in (TAR, ""))
    return is_beside and _describes_images(path, is_beside)


def bare(path: str) -> str:
    """Return a path, or a URL without its query."""
    return path.partition("?")[0] if protocol_of(path) in WITHOUT_GLOBS else path


def _those(pool: ThreadPoolExecutor, has: Callable[[str], bool], names: Sequence[str], silent: list[str]) -> set[str]:
    """Return the names that have a property, several asked for at a time; note those that do not answer in `silent`."""

    def ask(name: str) -> bool:
        try:
            return has(name)
        except StillFailingError:
            silent.append(name)
            if len(silent) > MAX_SILENT:
                raise
            return False

    return {name for name, it_has in zip(names, ahead(pool, ask, names, 4 * REQUESTS), strict=True) if it_has}


def _is_token_shard(path: str) -> bool:
    try:
        if protocol_of(path):
            return bool(holds_tokens(io.BytesIO(read_start(path, HEAD))))
        with open_regular(path) as file:
            return bool(holds_tokens(file))
    except StillFailingError:
        raise
    except OSError:  # reading it reports why
        return False


def _describes_images(path: str, is_beside: bool) -> bool:
    """Return whether a parquet file has no images; without pyarrow, the name that it shares with a shard says so."""
    return has_no_images(path) if has_pyarrow() else is_beside
