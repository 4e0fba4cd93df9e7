"""The summary that pack-sequences prints at its end."""

from collections import Counter
from dataclasses import asdict
from typing import Any, NamedTuple

from ...images.file_entry import printable
from ...tokenizer.wording import first_lines, list_first, pluralize
from ..inputs.samples import Failure
from ..packed_shards.manifest import PackedManifest
from ..packed_shards.sidecar import Counts
from ..token_shards.store import Store
from .job import PackResult

MAX_SHOWN = 5


class Totals:
    """What a call has done so far."""

    def __init__(self) -> None:
        self.shards = 0
        self.counts = Counts()
        self.skipped = 0
        self.failures: list[Failure] = []
        self.damaged: list[str] = []
        self.missing: Counter[str] = Counter()
        self.there: set[str] = set()
        self.seconds = 0.0

    def add(self, result: PackResult) -> None:
        """Add the result of a shard."""
        if result.damage:
            self.damaged.append(result.damage)
            return
        self.shards += 1
        self.counts += result.counts
        self.skipped += result.skipped
        self.failures += result.failures
        self.missing.update(result.missing)
        self.there |= result.there


class Summary(NamedTuple):
    """What a call did, and what is in the folder now."""

    totals: Totals
    manifest: PackedManifest
    out: Store
    planned: int
    done_before: int
    left_out: tuple[str, ...]
    """Token shards that are not whole."""

    @property
    def has_failed(self) -> bool:
        """Whether something is left to do, or the whole folder holds no document."""
        return bool(self.totals.damaged) or not self.manifest.counts.documents

    @property
    def tokens_per_second(self) -> float:
        """Image tokens, of all codebooks."""
        return self.totals.counts.image_tokens / self.totals.seconds if self.totals.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return everything, for a program."""
        totals, manifest = self.totals, self.manifest
        return {
            "out": str(self.out),
            "fingerprint": manifest.fingerprint,
            "settings": manifest.settings.model_dump(),
            "shards": {"written": totals.shards, "done_before": self.done_before, "left_out": list(self.left_out)},
            "written": totals.counts.model_dump() | {"skipped": totals.skipped, "fill": totals.counts.fill},
            "image_tokens_per_second": self.tokens_per_second,
            "seconds": totals.seconds,
            "damaged": totals.damaged,
            "missing": dict(totals.missing),
            "members": sorted(totals.there),
            "folder": {
                "shards": manifest.shards,
                "skipped": manifest.skipped,
                "failures": manifest.failures,
                "fill": manifest.counts.fill,
                **manifest.counts.model_dump(),
            },
            "failures": [asdict(row) for row in totals.failures],
        }

    def lines(self) -> list[str]:
        """Return lines for people: what was done, what is in the folder, and what failed."""
        totals, counts = self.totals, self.totals.counts
        speed = f", {self.tokens_per_second:,.0f} image tokens per second" if counts.image_tokens else ""
        lines = [
            f"shards      {totals.shards} written, {self.done_before} done before",
            f"images      {counts.documents:,} packed, {totals.skipped} skipped, {len(totals.failures)} failed{speed}",
        ]
        if counts.rows:
            lines.append(f"ids         {counts.ids:,}, of {counts.image_tokens:,} image tokens")
        if self.manifest.settings.length and counts.rows:
            each = counts.documents / counts.rows
            lines.append(
                f"rows        {counts.rows:,} of {self.manifest.settings.length:,} ids, {counts.fill:.2%} full, "
                f"{each:.1f} documents each"
            )
        if counts.without_caption:
            lines.append(f"no caption  {pluralize(counts.without_caption, 'document')} of an image alone")
        if counts.without_loss:
            loss = self.manifest.settings.loss
            lines.append(
                f"no loss     {pluralize(counts.without_loss, 'row')} in which --loss {loss} leaves nothing "
                "to predict: their mean loss is NaN, so sum losses over a batch, or pack without these images"
            )
        if totals.skipped:
            lines.append(
                f"skipped     {pluralize(totals.skipped, 'image')} without a caption, listed in the .json of the shard"
            )
        for name, count in totals.missing.most_common():
            there = ", ".join(sorted(totals.there)) or "none"
            lines.append(f"missing     {name} of {pluralize(count, 'image')}, whose members are: {there}")
        return [*lines, *self._folder(), *self._what_went_wrong()]

    def _folder(self) -> list[str]:
        manifest = self.manifest
        lines = [
            f"in {printable(str(self.out))}: {pluralize(manifest.counts.documents, 'document')} as "
            f"{pluralize(manifest.counts.rows, 'row')} in {pluralize(manifest.shards, 'shard')}, "
            f"{pluralize(manifest.failures, 'failure')} listed"
        ]
        others = manifest.shards - (self.planned - len(self.totals.damaged))
        if others > 0:
            lines.append(f"  {pluralize(others, 'shard')} not of this call; --overwrite removes what vistok wrote")
        if self.left_out:
            lines.append(f"  not whole yet, left out: {list_first(self.left_out, MAX_SHOWN)}")
        return lines

    def _what_went_wrong(self) -> list[str]:
        failed = [f"failed: {row.key}: {row.reason}" for row in self.totals.failures]
        lines = [f"  {line}" for line in first_lines(failed, MAX_SHOWN, "the .json beside each shard")]
        lines += [f"  damaged: {reason}" for reason in self.totals.damaged]
        if count := len(self.totals.damaged):
            lines.append(
                f"nothing was written for {pluralize(count, 'damaged shard')}: mend what verify-tokens lists and run the same "
                "command again"
            )
        return lines
