"""The documents of packed sequences, as images to decode and captions to write."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...sequences.layouts.base import Layout
from ...sequences.text import TextTokenizer
from ..detokenize.checking import FolderDecoder, ImageJob, check
from ..packed_shards.folder import PackedFolder
from ..packed_shards.formats import open_rows
from ..packed_shards.reading import ReadDocument, SequenceReader
from ..token_shards.token_samples import StoredSample
from .captions import caption_of, caption_path, is_there, write_caption


@dataclass
class Captions:
    """What became of the captions so far."""

    written: int = 0
    changed: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Unpacking(NamedTuple):
    """What all documents of a call have in common."""

    folder: PackedFolder
    layout: Layout
    decoder: FolderDecoder
    text: TextTokenizer
    paths: dict[str, list[str]]
    """Where the image of each document goes, by shard."""
    out: Path

    def documents(self) -> Iterator[tuple[str, ReadDocument, Path]]:
        """Yield the documents of all shards, with a name for messages and the path of the image."""
        reader = SequenceReader(self.layout, self.folder.manifest.settings)
        store, packed_format = self.folder.store, self.folder.packed_format
        for shard, paths in self.paths.items():
            with open_rows(store, shard, packed_format) as rows:
                places = iter(paths)
                for _, documents in reader.read(rows):
                    for read in documents:
                        yield f"{store.path_of(shard)}: {read.document.key}", read, self.out / next(places)

    def jobs(self, captions: Captions | None) -> Generator[ImageJob, None, None]:
        """Yield the images of all documents, and write their captions on the way; with None they are looked for."""
        for number, (where, read, path) in enumerate(self.documents()):
            document = read.document
            metadata = {"source": document.source, "width": document.width, "height": document.height}
            sample = StoredSample(document.key, partial(self._tokens, read), partial(dict, metadata))
            job = ImageJob(number, sample, path, where, self.decoder)
            if _comes_back(job):
                self._caption(read, job, captions)
            yield job

    def _caption(self, read: ReadDocument, job: ImageJob, captions: Captions | None) -> None:
        try:
            caption = caption_of(read, self.text, self.folder.template)
        except ValueError as error:
            if captions:
                captions.failures.append(f"{job.where}: {error}")
            return
        if caption.text and captions is None:
            is_there(caption_path(job.path), caption.text)
        elif caption.text and captions:
            write_caption(caption_path(job.path), caption.text)
            captions.written += 1
            captions.changed += [] if caption.is_same else [read.document.key]

    def _tokens(self, read: ReadDocument) -> np.ndarray:
        if read.problem or read.tokens is None:
            raise ValueError(read.problem)
        return read.tokens.astype(self.folder.manifest.tokens.dtype)


def _comes_back(job: ImageJob) -> bool:
    """Return whether an image fits its tokenizer; one that does not is a failure, and has no caption either."""
    try:
        check(job)
    except ValueError:
        return False
    return True
