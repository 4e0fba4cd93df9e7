"""One token shard to one packed shard."""

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager

from ...images.tars.blocks import DamagedShard
from ..packed_shards.formats import packed_files
from ..packed_shards.loss import loss_rule
from ..packed_shards.rows import PackedRow
from ..packed_shards.sidecar import Counts, PackedSidecar, sidecar_of
from ..token_dataset.rows import LoadedRow, load_row
from ..token_shards.formats import open_samples
from ..token_shards.shard_file import described, file_that_differs
from ..token_shards.sidecar import to_json
from .documents import Document, TextOnly, image_ids
from .job import PackJob, PackResult, PackTask
from .rows import RowBuilder
from .samples import CaptionedSample, Sieve

WINDOW = 1 << 22
"""Tokens that are in memory; with --length, rows are filled within a window."""
Report = Callable[[int], None]
"""Receives how many more images were read."""


def pack_shard(task: PackTask, job: PackJob, report: Report) -> PackResult:
    """Write a packed shard and, last, its sidecar; a damaged token shard is named, and nothing written.

    A kill at any moment leaves the old shard with its sidecar, no sidecar, or the new shard with its sidecar. Raises OSError
    when the disk refuses.
    """
    name, work = task.name, ShardPacking(job, report)
    try:
        _check_hashes(task, job)
        shard_format = job.packed_format
        with job.out.replace([*reversed(packed_files(name, shard_format)), sidecar_of(name)]) as opened:
            *files, sidecar_file = opened
            files.reverse()
            shard_format.write(files, work.rows(task), job.manifest.settings.dtype)
            sidecar = PackedSidecar(
                shard=name,
                fingerprint=job.manifest.fingerprint,
                inputs=task.inputs,
                counts=work.counts,
                skipped=work.sieve.skipped,
                failures=work.sieve.failures,
                files=list(map(described, packed_files(name, shard_format), files)),
            )
            sidecar_file.write(to_json(sidecar))
    except DamagedShard as error:
        return PackResult(name, damage=str(error))
    assert sidecar.counts.documents + len(sidecar.skipped) + len(sidecar.failures) == task.source.rows
    sieve = work.sieve
    return PackResult(
        name, work.counts, len(sieve.skipped), sieve.failures, missing=sieve.missing, there=frozenset(sieve.there)
    )


def _check_hashes(task: PackTask, job: PackJob) -> None:
    store = job.source.store
    with reading(task, job):
        if differing := file_that_differs(store, task.source.files):
            raise DamagedShard(f"{store.path_of(differing)} does not match its sidecar (SHA-256): run verify-tokens.")


@contextmanager
def reading(task: PackTask, job: PackJob) -> Iterator[None]:
    """Raise DamagedShard, with a sentence, when the token shard cannot be read in the body."""
    try:
        yield
    except OSError as error:
        where = error.filename or job.source.store.path_of(task.source.shard)
        raise DamagedShard(f"{where} cannot be read ({error.strerror or error}): run the same command again.") from None


class ShardPacking:
    """The rows of one shard, and an account of them."""

    def __init__(self, job: PackJob, report: Report):
        settings = job.manifest.settings
        self.sieve = Sieve(job.template, settings.on_missing)
        self._tally: Counter[str] = Counter()
        self._job = job
        self._report = report
        self._length = settings.length
        self._dtype = settings.dtype
        self._text = TextOnly(job.text, job.vocabulary)
        self._rule = loss_rule(settings)
        self.builder = RowBuilder(self._rule, settings.dtype, job.bos, job.eos, job.pad, settings.length)

    @property
    def counts(self) -> Counts:
        """What the rows so far hold."""
        return Counts(**self._tally)

    def rows(self, task: PackTask) -> Iterator[PackedRow]:
        """Yield the rows of a shard; raise DamagedShard, and OSError."""
        for window in self.windows(task):
            documents = list(self.documents(window))
            for row in self.builder.rows(documents):
                used = row.documents[-1].span[1]
                self._tally["rows"] += 1
                self._tally["ids"] += used
                self._tally["padding"] += len(row.ids) - used
                self._tally["without_loss"] += not self._rule.has_loss(row.loss)
                yield row
            self._tally["documents"] += len(documents)
            self._tally["image_tokens"] += sum(each.sample.tokens.size for each in documents)
            self._tally["without_caption"] += sum(not each.sample.has_caption for each in documents)

    def windows(self, task: PackTask) -> Iterator[list[CaptionedSample]]:
        """Yield the samples of a shard, as many as are in memory together; raise DamagedShard, and OSError."""
        folder, shard = self._job.source, task.source.shard
        window: list[CaptionedSample] = []
        size = seen = 0
        with closing(self._read(task)) as rows:
            for seen, row in enumerate(rows, 1):
                sample = self.sieve.sample(row)
                if sample is not None:
                    window.append(sample)
                    size += sample.tokens.size
                if size >= WINDOW:
                    yield window
                    window, size = [], 0
                if seen % 256 == 0:
                    self._report(256)
        if seen != task.source.rows:
            path, counted = folder.store.path_of(shard), task.source.rows
            raise DamagedShard(f"{path} holds {seen} rows, but its sidecar counts {counted}: run verify-tokens.")
        self._report(seen % 256)
        if window:
            yield window

    def _read(self, task: PackTask) -> Generator[LoadedRow, None, None]:
        folder, shard = self._job.source, task.source.shard
        with reading(task, self._job), open_samples(folder.store, shard, folder.shard_format) as samples:
            for stored in samples:
                self.sieve.there.update(stored.companions)
                yield load_row(stored, folder, shard, self.sieve.wanted)

    def documents(self, samples: list[CaptionedSample]) -> Iterator[Document]:
        """Yield the documents of some samples, and note those that are none."""
        texts = self._text.encode([text for sample in samples for text in (sample.before, sample.after)])
        images = image_ids(samples, self._job.layout, self._dtype)
        for sample, image, before, after in zip(samples, images, texts[::2], texts[1::2], strict=True):
            if isinstance(before, str) or isinstance(after, str) or isinstance(image, str):
                reason = next(part for part in (before, after, image) if isinstance(part, str))
                self.sieve.fail(sample.key, sample.source, reason)
                continue
            document = Document(sample, before, image, after)
            size = self.builder.size(document)
            if self._length and size > self._length:
                reason = f"its document has {size:,} ids, more than the {self._length:,} of --length"
                self.sieve.fail(sample.key, sample.source, reason)
                continue
            yield document
