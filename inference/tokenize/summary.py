"""The summary that tokenize-images prints at its end."""

from collections import Counter
from dataclasses import asdict
from typing import Any, NamedTuple

from ...evaluation.usage import Usage, codebook_usage, is_hashed
from ...images.file_entry import printable
from ...tokenizer.wording import first_lines, list_first, pluralize
from ..inputs.plan import Plan
from ..token_shards.formats import SHARD_FORMATS
from ..token_shards.manifest import Manifest
from ..token_shards.ownership import orphans
from ..token_shards.sidecar import sidecars
from ..token_shards.store import Store
from .results import Totals

MAX_SHOWN = 5


class Summary(NamedTuple):
    """What a call did, and what is in the folder now."""

    totals: Totals
    plan: Plan
    manifest: Manifest
    out: Store
    done_before: int
    new_images: int

    @property
    def has_failed(self) -> bool:
        """Whether something is left to do, or the whole folder holds nothing but failures."""
        has_only_failures = bool(self.manifest.failures) and not self.manifest.images
        totals = self.totals
        return bool(totals.damaged or totals.unread or totals.unwritten or totals.lost or has_only_failures)

    @property
    def passed_over(self) -> Counter[str]:
        """Files and members of tars that are neither images nor carried over, by kind."""
        return self.plan.passed_over + self.totals.passed_over

    def others(self) -> list[str]:
        """Return the shards in the folder that are not of this call."""
        suffix = SHARD_FORMATS[self.manifest.format].suffixes[0]
        planned = {f"{task.name}{suffix}" for task in self.plan.shards}
        there = {sidecar.shard for sidecar in sidecars(self.out)} | set(orphans(self.out))
        return sorted(there - planned)

    def as_dict(self) -> dict[str, Any]:
        """Return everything, for a program; of the failures MAX_FAILURES."""
        totals = self.totals
        return {
            "out": str(self.out),
            "model": self.manifest.model,
            "fingerprint": self.manifest.fingerprint,
            "shards": {"written": totals.shards, "done_before": self.done_before, "not_in_this_call": self.others()},
            "images": {
                "tokenized": totals.images,
                "failed": totals.failed,
                "given_again": self.plan.repeated,
                "new": self.new_images,
            },
            "rows": {"written": totals.rows, "views": list(self.manifest.views.names)},
            "images_per_second": totals.images / totals.seconds if totals.images else 0.0,
            "seconds": totals.seconds,
            "limit": {"stage": totals.waits.limit, "waited": totals.waits.fractions} if totals.waits.seconds else None,
            "passed_over": dict(self.passed_over),
            "damaged": totals.damaged,
            "unread": totals.unread,
            "unwritten": totals.unwritten,
            "lost": totals.lost,
            "codebooks": [usage._asdict() for usage in codebook_usage(totals.counts, totals.vocab_size)]
            if totals.images
            else [],
            "folder": self.manifest.model_dump(include={"shards", "images", "rows", "failures"}),
            "failures": [asdict(row) for row in totals.failures],
        }

    def lines(self) -> list[str]:
        """Return lines for people: what was done, how the codes were used, what is in the folder, and what failed."""
        return [*self._what_was_done(), *self._usage(), *self._folder(), *self._what_went_wrong()]

    def _what_was_done(self) -> list[str]:
        totals = self.totals
        speed = f", {totals.images / totals.seconds:.1f} per second" if totals.images else ""
        lines = [
            f"shards      {totals.shards} written, {self.done_before} done before",
            f"images      {totals.images} tokenized, {totals.failed} failed{speed}",
        ]
        if names := self.manifest.views.names:
            lines.append(f"rows        {totals.rows:,} written, {len(names)} per image: {', '.join(names)}")
        if totals.images and totals.waits.seconds:
            waited = ", ".join(f"{stage} {fraction:.0%}" for stage, fraction in totals.waits.fractions.items())
            who = "all processes" if totals.waits.seconds > totals.seconds else "the run"  # each has a clock
            lines.append(f"limit       {totals.waits.limit}, by what {who} waited for: {waited}")
        if self.new_images:
            lines.append(f"new         {pluralize(self.new_images, 'image')} since the last call, in new shards")
        if self.plan.repeated:
            lines.append(f"repeated    {pluralize(self.plan.repeated, 'input')} given again, tokenized once")
        if self.passed_over:
            kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(self.passed_over.items()))
            lines.append(f"other files {self.passed_over.total()} passed over: {kinds}")
        return lines

    def _usage(self) -> list[str]:
        counts, codes = self.totals.counts, self.totals.vocab_size
        about = "about " if is_hashed(counts, codes) else ""
        lines = []
        for index, usage in enumerate(codebook_usage(counts, codes) if self.totals.images else []):
            which = f" {index}" if len(counts) > 1 else ""
            lines.append(
                f"codebook{which}    usage {_used(usage, codes, about)}, perplexity {about}{usage.perplexity:,.0f} "
                f"over {int(counts[index].sum()):,} tokens"
            )
        return lines

    def _folder(self) -> list[str]:
        manifest = self.manifest
        rows = f" as {pluralize(manifest.rows, 'row')}" if manifest.views.names else ""
        lines = [
            f"in {printable(str(self.out))}: {pluralize(manifest.images, 'image')}{rows} in "
            f"{pluralize(manifest.shards, 'shard')}, {pluralize(manifest.failures, 'failure')} listed"
        ]
        if others := self.others():
            lines.append(
                f"  not of this call: {list_first(others, MAX_SHOWN)}; --overwrite removes those with a sidecar"
            )
        return lines + [f"  empty: {name}, there is no file in its input" for name in self.totals.empty]

    def _what_went_wrong(self) -> list[str]:
        totals = self.totals
        failed = [f"failed: {row.source}: {row.reason}" for row in totals.failures]
        lines = [f"  {line}" for line in first_lines(failed, MAX_SHOWN, "the .json beside each shard", totals.failed)]
        lines += [f"  damaged: {reason}" for reason in totals.damaged]
        lines += [f"  not read: {reason}" for reason in totals.unread]
        lines += [f"  not written: {reason}" for reason in totals.unwritten]
        lines += [f"  lost: {reason}" for reason in totals.lost]
        if count := len(totals.damaged):
            them = "it" if count == 1 else "them"
            nothing = f"nothing was written for {pluralize(count, 'damaged shard')}"
            lines.append(f"{nothing}: repair {them} and run the same command again")
        if count := len(totals.unread):
            lines.append(
                f"nothing was written for {pluralize(count, 'shard')}: run the same command again when "
                f"{'its' if count == 1 else 'their'} files can be read"
            )
        if count := len(totals.unwritten):
            their = "its" if count == 1 else "their"
            lines.append(
                f"nothing was sealed of {pluralize(count, 'shard')}: run the same command again when {their} files can be "
                "written"
            )
        if count := len(totals.lost):
            lines.append(f"nothing was written for {pluralize(count, 'lost shard')}: run the same command again")
        return lines


def _used(usage: Usage, codes: int, about: str) -> str:
    fraction = f"{about}{usage.usage:.1%}" if usage.usage >= 0.0005 else "under 0.1%"
    return f"{fraction} ({about}{round(usage.usage * codes):,} of {codes:,} codes)"
