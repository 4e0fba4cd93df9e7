"""The page about a folder of token shards."""

import math
from collections.abc import Sequence
from statistics import fmean

from ...evaluation.usage import codebook_usage, codes_text, estimate_note, even_usage, is_hashed
from ...report.codebooks import codebook_views
from ...report.content import Chart, CodebookView, Comparison, Report, Single, environment
from ...tokenizer.wording import list_first, pluralize
from ..token_shards.manifest import NOT_ENDED
from ..token_shards.sidecar import MANIFEST_FILE, to_json
from .collection import Collection
from .rates import points_of_shards, rate_chart
from .tables import collection_tables, size_histograms

MAX_SHOWN = 5
MIN_SHARDS = 5
"""Whose times say something of the throughput."""


def collection_page(collection: Collection) -> Report:
    """Return the page."""
    manifest = collection.manifest
    facts = {"folder": str(collection.store), "fingerprint": manifest.fingerprint}
    return Report(
        title=str(collection.store).rstrip("/").rpartition("/")[2] or str(collection.store),
        subtitle=_subtitle(collection),
        figures=page_figures(collection),
        notes=page_notes(collection),
        charts=_charts(collection),
        codebooks=_codebooks(collection),
        galleries=_galleries(collection),
        histograms=size_histograms(collection.survey),
        tables=collection_tables(collection),
        config=to_json(manifest).decode().strip(),
        environment=facts | environment(),
    )


def _subtitle(collection: Collection) -> str:
    manifest, survey, contents = collection.manifest, collection.survey, collection.contents
    made = f"{manifest.model}, size {manifest.preprocessing.size}, {manifest.precision}, {manifest.format}"
    if collection.is_whole_read or not contents.rows:
        return f"{made}. All rows were read."
    what = "Grids, sizes" if collection.call and collection.call.counts is not None else "Usage, grids, sizes"
    of = (
        f"{pluralize(survey.shards, 'shard')} drawn at random" if survey.shards < len(contents.shards) else "all shards"
    )
    return f"{made}. {what} and images are from {survey.rows:,} of {contents.rows:,} rows, in {of}."


def page_figures(collection: Collection) -> dict[str, str]:
    """Return the headline numbers by label."""
    contents, manifest, counts = collection.contents, collection.manifest, collection.counts
    figures = {"images": f"{contents.images:,}"}
    if manifest.views.names:
        figures["rows"] = f"{contents.rows:,}"
    figures |= {"shards": f"{len(contents.shards):,}", "failures": f"{contents.failures.number:,}"}
    tokens = int(counts[0].sum())
    shown = f"{tokens / 1e6:,.2f} million" if tokens >= 1e6 else f"{tokens:,}"
    figures["tokens per codebook" if len(counts) > 1 else "tokens"] = shown
    if tokens:
        usages = codebook_usage(counts, manifest.vocab_size)
        figures["usage"] = f"{fmean(usage.usage for usage in usages):.1%}"
        figures["usage at even use"] = f"{even_usage(tokens, manifest.vocab_size):.1%}"
        perplexity = fmean(usage.perplexity for usage in usages)
        figures["perplexity"] = f"{perplexity:,.0f}" if perplexity >= 100 else f"{perplexity:.1f}"
    psnrs = collection.reconstructions.psnrs if collection.reconstructions else []
    finite = [value for value in psnrs if math.isfinite(value)]
    if finite:
        figures[f"PSNR, {pluralize(len(finite), 'row')}"] = f"{fmean(finite):.2f} dB"
    if collection.call and collection.call.limit:
        figures["limit"] = collection.call.limit
    return figures


def page_notes(collection: Collection) -> list[str]:
    """Return what the numbers do not say: what is missing, damaged or hard to compare, a sentence each."""
    return [
        *_unfinished(collection),
        *_damage(collection),
        *filter(None, [_few_tokens(collection), estimate_note(collection.counts, collection.manifest.vocab_size)]),
        *filter(None, [collection.missing]),
    ]


def _unfinished(collection: Collection) -> list[str]:
    """Say what is known to be missing. Nothing on the disk says how many shards there will be."""
    notes, whole, call = [], len(collection.contents.shards), collection.call
    if not whole:
        notes.append("No shard is whole yet.")
    if call and call.done < len(call.plan.shards):
        given_up = f", and {call.given_up} were given up" if call.given_up else ""
        notes.append(
            f"Not complete: {call.done} of the {pluralize(len(call.plan.shards), 'shard')} of the call are whole{given_up}."
        )
    if not call and whole != collection.manifest.shards:
        notes.append(
            f"{MANIFEST_FILE} counts {pluralize(collection.manifest.shards, 'shard')}, but {whole} are whole: a call is at "
            f"work, or was stopped. This page is about the {whole}."
        )
    elif not call and not collection.manifest.has_ended:
        notes.append(f"{MANIFEST_FILE} {NOT_ENDED}.")
    if collection.unsealed:
        them = pluralize(len(collection.unsealed), "shard")
        notes.append(
            f"{them} without a sidecar that fits, because a call is at work or was killed, or because files are missing, left "
            f"out here: {list_first(collection.unsealed, MAX_SHOWN)}."
        )
    return notes


def _damage(collection: Collection) -> list[str]:
    survey, done = collection.survey, collection.reconstructions
    phrases = survey.problems + (done.problems if done else [])
    notes = [f"Damaged: {phrase}." for phrase in phrases[:MAX_SHOWN]]
    if survey.damaged_rows > MAX_SHOWN:
        notes.append(f"{survey.damaged_rows:,} rows are damaged in all.")
    return notes


def _few_tokens(collection: Collection) -> str:
    tokens, codes = int(collection.counts[0].sum()), collection.manifest.vocab_size
    if not 0 < tokens < codes:
        return ""
    return (
        f"{tokens:,} tokens can use at most {math.ceil(1000 * tokens / codes) / 1000:.1%} of {codes_text(codes)} codes, and a "
        f"uniform draw of as many uses {even_usage(tokens, codes):.1%}: compare usage with that."
    )


def _charts(collection: Collection) -> list[Chart]:
    if collection.call:
        chart = rate_chart("Images per second of this call", collection.call.rates)
    else:
        times = collection.times
        shards = [(times[shard.name], shard.images) for shard in collection.contents.shards if shard.name in times]
        points, pauses = points_of_shards(shards)
        title = "Images per second, by the times of the shards"
        chart = rate_chart(title, points, pauses) if len(points) >= MIN_SHARDS else None
    return [chart] if chart else []


def _codebooks(collection: Collection) -> list[CodebookView]:
    counts, codes = collection.counts, collection.manifest.vocab_size
    if collection.tokenizer:
        views = codebook_views(collection.tokenizer.model.quantizer, counts)
    else:
        names = ["codebook"] if len(counts) == 1 else [f"codebook {index}" for index in range(len(counts))]
        views = [CodebookView(name, level.numpy(), vocab_size=codes) for name, level in zip(names, counts, strict=True)]
    return [view._replace(on_log_ranks=not is_hashed(counts, codes)) for view in views]


def _galleries(collection: Collection) -> dict[str, Sequence[Comparison | Single]]:
    done = collection.reconstructions
    if done is None:
        return {}
    worst = f"The worst of {pluralize(len(done.psnrs), 'random row')}, by PSNR"
    return {"Random rows": done.random, **({worst: done.worst} if len(done.psnrs) > 1 else {})}
