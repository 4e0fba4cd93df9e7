"""The sidecar of a packed shard: NAME.json, written last."""

from collections.abc import Collection, Mapping
from pathlib import PurePath
from typing import Literal

from pydantic import ValidationError

from ...tokenizer.config import Config
from ..inputs.plan import SIDECAR_SUFFIX
from ..inputs.samples import Failure
from ..token_shards.shard_file import ShardFile, are_whole
from ..token_shards.sidecar import MANIFEST_FILE
from ..token_shards.store import Store
from .formats import packed_files, packed_shard_of

VOCABULARY_FILE = "vocabulary.json"
TOKENIZER_FILE = "tokenizer.json"
NO_SIDECARS = frozenset({MANIFEST_FILE, VOCABULARY_FILE, TOKENIZER_FILE})


class Counts(Config):
    """What a shard or a folder holds."""

    rows: int = 0
    documents: int = 0
    """Images with their text."""
    ids: int = 0
    """Without padding."""
    padding: int = 0
    image_tokens: int = 0
    """Tokens of the tokenizer: of all codebooks, without structure."""
    without_caption: int = 0
    """Documents of an image alone, as it has no caption."""
    without_loss: int = 0
    """Rows in which nothing is to be predicted."""

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in Counts.model_fields})

    @property
    def fill(self) -> float:
        """The fraction of the rows that is no padding."""
        return self.ids / max(1, self.ids + self.padding)


class PackedSidecar(Config):
    """The description of one packed shard."""

    schema_version: Literal[1] = 1
    shard: str
    """Its name without suffix, which is that of the token shard."""
    fingerprint: str
    """That of the manifest: of the tokenizer, the text tokenizer, the layout and the options."""
    inputs: str
    """SHA-256 of the names, sizes and SHA-256 of the files of the token shard."""
    counts: Counts
    skipped: list[str]
    """Keys of the images that were left out, as they have no caption."""
    failures: list[Failure]
    """Images that could not be packed."""
    files: list[ShardFile]
    """All files of the shard, in the order of the suffixes of its format."""

    def is_whole(self, sizes: Mapping[str, int]) -> bool:
        """Return whether all files are among those of a folder, given by their bytes, with as many as described."""
        return are_whole(self.files, sizes)

    def is_sound(self, name: str) -> bool:
        """Return whether it describes a shard of a known format beside it, when its own file has a name."""
        names = [file.name for file in self.files]
        found = packed_shard_of(names[0]) if names else None
        is_beside = self.shard == PurePath(self.shard).name and sidecar_of(self.shard) == name
        return is_beside and found is not None and names == packed_files(self.shard, found[1])


def sidecar_of(name: str) -> str:
    """Return the name of the sidecar of a packed shard."""
    return f"{name}{SIDECAR_SUFFIX}"


def packed_sidecars(store: Store, names: Collection[str]) -> list[PackedSidecar]:
    """Return all sidecars by name, even without their shards; ignore what is none. `names` are all files of the folder."""
    found = []
    candidates = sorted(name for name in names if name.endswith(SIDECAR_SUFFIX) and name not in NO_SIDECARS)
    for name, content in store.read_many(candidates).items():
        try:
            sidecar = PackedSidecar.model_validate_json(content)
        except ValidationError:
            continue
        found += [sidecar] if sidecar.is_sound(name) else []
    return found
