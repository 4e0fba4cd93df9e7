"""A folder of packed sequences to read: manifest, vocabulary, layout, text tokenizer, and the shards that are whole."""

import hashlib
import json
from functools import cached_property
from typing import NamedTuple

from ...images.file_entry import problem_of
from ...language.hugging_face import hugging_face_text
from ...language.text_tokenizers import load_text_tokenizer
from ...sequences.layouts.base import Layout
from ...sequences.layouts.table import build_layout
from ...sequences.text import TextTokenizer
from ...sequences.vocabulary import Vocabulary
from ..token_shards.sidecar import MANIFEST_FILE
from ..token_shards.store import LocalStore, Store, open_store
from .formats import PACKED_FORMATS, PackedFormat
from .manifest import PackedManifest, read_packed_manifest
from .ownership import PackedFiles
from .sidecar import TOKENIZER_FILE, VOCABULARY_FILE, PackedSidecar
from .template import Template, parse_template


class PackedFolder:
    """A folder that pack-sequences wrote, by its path or URL; what it needs is read when it is asked for.

    Raises ValueError when it is none, or when its vocabulary or text tokenizer is not the one that it was packed with.
    """

    def __init__(self, path: str):
        self.store: Store = open_store(path)
        if isinstance(self.store, LocalStore) and not self.store.folder.is_dir():
            what = problem_of(str(self.store)) or "is a file"
            raise ValueError(f"{self.store} {what}: give a folder that pack-sequences wrote.")
        manifest = read_packed_manifest(self.store)
        if manifest is None:
            raise ValueError(f"{self.store} has no {MANIFEST_FILE}: give a folder that pack-sequences wrote.")
        self.manifest: PackedManifest = manifest

    @property
    def packed_format(self) -> PackedFormat:
        """The format of all shards."""
        return PACKED_FORMATS[self.manifest.settings.format]

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary; raises ValueError when it is missing, or another than the shards were packed with."""
        try:
            content = self.store.read(VOCABULARY_FILE)
        except FileNotFoundError:
            raise ValueError(f"{self.store.path_of(VOCABULARY_FILE)} is missing: run pack-sequences again.") from None
        if hashlib.sha256(content).hexdigest() != self.manifest.settings.vocabulary:
            raise ValueError(
                f"{self.store.path_of(VOCABULARY_FILE)} is not the vocabulary that the shards were packed with: put that back."
            )
        return Vocabulary.from_dict(json.loads(content))

    def check_tokenizer(self) -> bytes | None:
        """Return the content of tokenizer.json, if there is to be one; raise ValueError when it is not as it was."""
        if not self.manifest.is_extended:
            return None
        path = self.store.path_of(TOKENIZER_FILE)
        try:
            content = self.store.read(TOKENIZER_FILE)
        except FileNotFoundError:
            raise ValueError(f"{path} is missing: run pack-sequences again.") from None
        if hashlib.sha256(content).hexdigest() != self.manifest.tokenizer_file:
            raise ValueError(f"{path} is not the text tokenizer that was extended for the shards: put that back.")
        return content

    @cached_property
    def layout(self) -> Layout:
        """The layout of the images."""
        settings = self.manifest.settings
        return build_layout(settings.layout, self.vocabulary, **settings.layout_options)

    @cached_property
    def template(self) -> Template:
        """What a document is made of."""
        return parse_template(self.manifest.settings.template, self.manifest.settings.caption)

    def text(self, named: str | None = None) -> TextTokenizer:
        """Load the text tokenizer, by default the one beside if there is one; raise ValueError when it did not make the ids."""
        if named is None and (content := self.check_tokenizer()) is not None:
            beside = self.store.path_of(TOKENIZER_FILE)
            return self._checked(hugging_face_text(json.loads(content), True, beside), beside)
        source = named or self.manifest.text_tokenizer
        try:
            text = load_text_tokenizer(source)
        except ValueError as error:
            if named is not None:
                raise
            raise ValueError(
                f"{str(error).rstrip('.')}. {self.store} was packed with it: give --text-tokenizer where it is now."
            ) from None
        return self._checked(text, source)

    def _checked(self, text: TextTokenizer, source: str) -> TextTokenizer:
        if text.digest != self.manifest.settings.text_tokenizer:
            raise ValueError(
                f"{self.store} was packed with another text tokenizer than {source}: give --text-tokenizer the one that it was "
                "packed with."
            )
        self.vocabulary.check_text(text)
        return text

    def shards(self) -> "PackedShards":
        """Return the shards that are whole, and say what is wrong with the others."""
        files = PackedFiles(self.store)
        whole = [each for each in files.sidecars if each.shard in files.whole and self._is_of(each)]
        problems = []
        for each in files.sidecars:
            if each.shard not in files.whole:
                problems.append(f"{each.shard} is not there with all its bytes: pack it again.")
            elif not self._is_of(each):
                problems.append(f"{each.shard} was packed with other settings than {MANIFEST_FILE} has: pack it again.")
        described = {each.shard for each in files.sidecars}
        problems += [f"{name} has no sidecar: pack it again." for name, _ in files.orphans() if name not in described]
        if not problems and self.manifest.shards > len(whole):
            problems.append(
                f"{MANIFEST_FILE} counts {self.manifest.shards} shards, but {len(whole)} are there: pack again."
            )
        return PackedShards(whole, problems)

    def _is_of(self, sidecar: PackedSidecar) -> bool:
        return sidecar.fingerprint == self.manifest.fingerprint


class PackedShards(NamedTuple):
    """The shards of a folder."""

    whole: list[PackedSidecar]
    problems: list[str]
    """A sentence for each that is not whole."""
