"""The page at the end of a call, which never ends the call."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from ...cli.user_errors import describe_error
from ...tokenizer.system import usable_cores
from ..collection_report.call import Call
from ..collection_report.page_file import PAGE_FILE
from ..collection_report.rates import Point
from ..collection_report.report import write_page
from ..inputs.plan import Plan
from ..token_shards.manifest import Manifest
from .job import Job
from .results import Totals


def report_call(
    job: Job,
    manifest: Manifest,
    plan: Plan,
    totals: Totals,
    done_before: int,
    rates: Sequence[Point],
    say: Callable[[str], None],
) -> None:
    """Write tokens.html and say where it is, or why it is missing; `manifest` has the totals of the folder."""
    given_up = len(totals.damaged) + len(totals.unread) + len(totals.lost)
    call = Call(
        plan=plan,
        done=done_before + totals.shards,
        given_up=given_up,
        rates=rates,
        limit=totals.waits.limit if totals.images and totals.waits.seconds else "",
        waited=totals.waits.fractions if totals.images and totals.waits.seconds else {},
        counts=totals.counts if totals.shards == manifest.shards else None,
        seconds_per_image=_seconds_per_image(job, totals),
    )
    try:
        with _all_cores():
            path = write_page(job.out, manifest, job.tokenizer, call)
        say(f"report      {path}")
    except Exception as error:  # what is drawn of tokens must not undo them
        say(f"{PAGE_FILE} is missing: {describe_error(error)}")


@contextmanager
def _all_cores() -> Iterator[None]:
    """Let torch decode on all cores; encoders have left it one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(usable_cores())
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _seconds_per_image(job: Job, totals: Totals) -> float:
    """Return what one core, or the device, needed for an image of this call."""
    at_once = job.encoders if job.tokenizer.device.type == "cpu" else 1
    return at_once * totals.seconds / totals.images if totals.images else 0.0
