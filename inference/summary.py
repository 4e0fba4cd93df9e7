"""What a run of tokenize-images tells in the end."""

from pathlib import Path

from ..images.inputs import printable
from ..terminal import counted
from ..tokenizer.usage import codebook_usage
from .manifest import Manifest
from .pipeline import Totals
from .plan import Plan

SHOWN_FAILURES = 5


def summary_lines(totals: Totals, plan: Plan, manifest: Manifest, out: Path) -> list[str]:
    """Return the lines: what was done, how the codes were used, what is in the folder, what failed."""
    speed = totals.pictures / totals.seconds
    lines = [
        f"shards      {totals.shards} written, {totals.shards_done_before} done before",
        f"pictures    {totals.pictures} tokenized, {len(totals.failures)} failed, {speed:.1f} pictures a second",
    ]
    if plan.passed_over:
        endings = "its ending is not that" if plan.passed_over == 1 else "their endings are not those"
        lines.append(f"other files {plan.passed_over} passed over, {endings} of pictures")
    for number, usage in enumerate(codebook_usage(totals.counts) if totals.pictures else []):
        which = f" {number}" if len(totals.counts) > 1 else ""
        lines.append(
            f"codebook{which}    usage {usage.usage:.1%}, perplexity {usage.perplexity:,.0f} of {manifest.vocab_size:,} codes "
            f"over {int(totals.counts[number].sum()):,} tokens"
        )
    lines.append(
        f"in {printable(str(out))}: {counted(manifest.pictures, 'picture')} in {counted(manifest.shards, 'shard')}, "
        f"{counted(manifest.failures, 'failure')} listed"
    )
    lines += [f"  empty: {name}.tar, there is no file in its input" for name in totals.empty]
    lines += [f"  failed: {failure.source}: {failure.reason}" for failure in totals.failures[:SHOWN_FAILURES]]
    if len(totals.failures) > SHOWN_FAILURES:
        lines.append(f"  ... and {len(totals.failures) - SHOWN_FAILURES} more, see the .json beside each shard")
    lines += [f"  damaged: {reason}" for reason in totals.damaged]
    if totals.damaged:
        lines.append(
            f"nothing was written for {counted(len(totals.damaged), 'damaged shard')}: the same command does them once they "
            "are repaired"
        )
    return lines
