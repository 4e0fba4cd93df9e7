"""Writing the page: for report-tokens, and at the end of tokenize-images within a few seconds."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ...cli.progress import ProgressLine
from ...report.page import render
from ...tokenizer.errors import WorkFailedError
from ...tokenizer.files import write_whole
from ..api import Tokenizer, load
from ..inputs.companions import NONE, parse_keep
from ..inputs.plan import Plan, plan_shards
from ..token_shards.manifest import Manifest, manifest_of
from ..token_shards.ownership import orphans
from ..token_shards.sidecar import MANIFEST_FILE
from ..token_shards.store import Store, open_store, write_file
from .call import Call
from .collection import Collection
from .contents import Contents, read_contents
from .page import collection_page
from .page_file import PAGE_FILE, check_page
from .reconstructions import Reconstructions, reconstruct
from .source_images import SourceImages
from .survey import NO_LIMIT, Limit, Survey, survey_rows

READING_SECONDS, IMAGE_SECONDS = 2.0, 3.0
"""At the end of tokenize-images: for the rows, and for the images."""
DECODING = 2.0
"""What decoding an image costs at most, about, as a multiple of encoding it."""

ALL_TOGETHER = 1 << 30
"""Loose images in a shard of the plan, which is never made."""
NO_DECODER = "No reconstructions, since this tokenizer has no decoder."


class Request(NamedTuple):
    """The options of report-tokens, parsed."""

    folder: str
    out: Path
    model: str | None
    sources: list[str]
    image_column: str
    device: str
    rows: int | None
    quiet: bool


def report_tokens(request: Request) -> Collection:
    """Write the page about a folder, and return what is on it.

    Raises ValueError for a wrong call, and OSError or WorkFailedError when the work fails.
    """
    store = open_store(request.folder)
    manifest = manifest_of(store)
    if manifest is None:
        raise ValueError(f"{store} has no {MANIFEST_FILE}: give a folder that tokenize-images wrote.")
    check_page(request.out)
    plan = _plan(request, str(store)) if request.sources else None
    tokenizer, missing = _tokenizer(manifest, request.model, request.device)
    contents = read_contents(store, manifest.fingerprint)
    with ProgressLine("rows", contents.rows, request.quiet) as line:
        survey = survey_rows(store, manifest, contents.shards, Limit(request.rows), line.update)
    done = _reconstruct(survey, tokenizer, plan, manifest, NO_LIMIT) if tokenizer else None
    missing = missing or _what_is_missing(done, request.sources)
    collection = _collection(store, manifest, contents, survey, tokenizer, done, missing)
    write_whole(request.out, render(collection_page(collection)).encode())
    return collection


def write_page(store: Store, manifest: Manifest, tokenizer: Tokenizer, call: Call) -> str:
    """Write the page at the end of a call, within about five seconds for what it reads and decodes; return its path."""
    contents = read_contents(store, manifest.fingerprint)
    survey = survey_rows(store, manifest, contents.shards, Limit(until=time.monotonic() + READING_SECONDS))
    done, missing = None, ""
    if DECODING * call.seconds_per_image > IMAGE_SECONDS:
        missing = (
            "No reconstructions, since this tokenizer takes seconds for an image here: report-tokens decodes some."
        )
    else:
        done = _reconstruct(survey, tokenizer, call.plan, manifest, Limit(until=time.monotonic() + IMAGE_SECONDS))
        missing = NO_DECODER if done is None else ""
    collection = _collection(store, manifest, contents, survey, tokenizer, done, missing, call)
    write_file(store, PAGE_FILE, render(collection_page(collection)).encode())
    return store.path_of(PAGE_FILE)


def _tokenizer(manifest: Manifest, named: str | None, device: str) -> tuple[Tokenizer | None, str]:
    """Load the tokenizer that made the tokens, or say why it is missing; raise ValueError for one that is named in vain."""
    model = named or manifest.model
    try:
        tokenizer = load(model, device).with_preprocessing(manifest.preprocessing)
    except (ValueError, OSError, WorkFailedError) as error:
        if named:
            raise
        return None, f"No reconstructions, since the tokenizer is missing: {error}"
    if tokenizer.fingerprint == manifest.fingerprint:
        return tokenizer, ""
    sentence = (
        f"The tokens are of {manifest.model}, but {model} makes others: give --model the tokenizer that made them."
    )
    if named:
        raise ValueError(sentence)
    return None, f"No reconstructions. {sentence}"


def _plan(request: Request, folder: str) -> Plan:
    return plan_shards(request.sources, ALL_TOGETHER, folder, parse_keep(NONE), image_column=request.image_column)


def _what_is_missing(done: Reconstructions | None, sources: Sequence[str]) -> str:
    if done is None:
        return NO_DECODER
    if not sources:
        return "No originals beside the reconstructions, and none are called the worst: give their inputs by --source."
    if done.decoded and not done.psnrs:
        return f"None of {done.decoded} random rows was found in {', '.join(sources)}, unchanged: no originals."
    return ""


def _reconstruct(
    survey: Survey, tokenizer: Tokenizer, plan: Plan | None, manifest: Manifest, limit: Limit
) -> Reconstructions | None:
    if not tokenizer.model.has_decoder:
        return None
    rows = survey.sample.rows()
    if plan is None:
        return reconstruct(rows, tokenizer, lambda _: None, limit.is_over)
    sources = SourceImages(plan, tokenizer, manifest.views)
    sources.prepare(rows, limit.is_over)
    return reconstruct(rows, tokenizer, sources.pixels, limit.is_over)


def _collection(
    store: Store,
    manifest: Manifest,
    contents: Contents,
    survey: Survey,
    tokenizer: Tokenizer | None,
    done: Reconstructions | None,
    missing: str,
    call: Call | None = None,
) -> Collection:
    return Collection(
        store=store,
        manifest=manifest,
        contents=contents,
        unsealed=orphans(store),
        survey=survey,
        times=store.times(),
        tokenizer=tokenizer,
        reconstructions=done,
        missing=missing,
        call=call,
    )
