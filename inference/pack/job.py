"""What all shards of a call have in common, and what became of one."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from ...language.text_tokenizers import load_text_tokenizer
from ...sequences.layouts.base import Layout
from ...sequences.layouts.table import build_layout
from ...sequences.text import TextTokenizer
from ...sequences.vocabulary import Vocabulary
from ..inputs.samples import Failure
from ..packed_shards.formats import PACKED_FORMATS, PackedFormat
from ..packed_shards.manifest import PackedManifest
from ..packed_shards.sidecar import Counts
from ..packed_shards.template import Template, parse_template
from ..token_dataset.folder import TokenFolder
from ..token_shards.sidecar import Sidecar
from ..token_shards.store import Store


class PackTask(NamedTuple):
    """One shard to pack: plain, picklable data."""

    name: str
    """Of the packed shard, without suffix."""
    source: Sidecar
    """That of the token shard."""
    inputs: str
    """Digest of its files."""


class PackResult(NamedTuple):
    """What became of one task."""

    name: str
    counts: Counts = Counts()
    skipped: int = 0
    failures: list[Failure] = []
    damage: str = ""
    """Why the token shard is damaged or cannot be read, in a sentence; nothing was written then."""
    missing: Mapping[str, int] = {}
    """How many images lack each member that the template names."""
    there: frozenset[str] = frozenset()
    """Members that images have."""


@dataclass(frozen=True)
class PackJob:
    """What all tasks of a call have in common; picklable."""

    source: TokenFolder
    out: Store
    manifest: PackedManifest
    vocabulary: Vocabulary
    tokenizer: str | None
    """The tokenizer.json that was extended for it, to be kept beside; captions are encoded by the one that was given."""
    bos: int | None
    eos: int | None
    pad: int | None
    threads: bool = True
    """Whether captions may be encoded on several cores; no id depends on it."""

    @property
    def packed_format(self) -> PackedFormat:
        """The format of all shards."""
        return PACKED_FORMATS[self.manifest.settings.format]

    @cached_property
    def text(self) -> TextTokenizer:
        """The text tokenizer, loaded once per process."""
        return load_text_tokenizer(self.manifest.text_tokenizer, self.threads)

    @cached_property
    def layout(self) -> Layout:
        """The layout, built once per process."""
        settings = self.manifest.settings
        return build_layout(settings.layout, self.vocabulary, **settings.layout_options)

    @cached_property
    def template(self) -> Template:
        """What a document is made of."""
        return parse_template(self.manifest.settings.template, self.manifest.settings.caption)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what another process makes for itself, or does not need."""
        made = {name: value for name, value in self.__dict__.items() if name not in ("text", "layout", "template")}
        return made | {"tokenizer": None}
