"""Batches on the device of a run, copied there while it works on the batch before."""

from collections.abc import Iterator

import torch

from .batches import Batch


def batches_on(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Yield batches with their crops on a device.

    On CUDA the next batch is copied on a stream of its own, from pinned memory, before a batch is yielded: no step waits for
    it. A batch that was copied and not yielded was not trained on: whoever resumes draws it again. An error of the reader
    comes at its own batch.
    """
    if device.type != "cuda":
        for batch in batches:
            yield batch._replace(crops=batch.crops.to(device))
        return
    stream = torch.cuda.Stream(device)
    ahead = _copied(batches, device, stream)
    while ahead is not None:
        if isinstance(ahead, Exception):
            raise ahead
        (batch, copied), ahead = ahead, _copied(batches, device, stream)
        working = torch.cuda.current_stream(device)
        working.wait_event(copied)  # not for the copy of the next batch
        batch.crops.record_stream(working)  # its memory is not the copying stream's again before the step has read it
        yield batch


def _copied(
    batches: Iterator[Batch], device: torch.device, stream: torch.cuda.Stream
) -> tuple[Batch, torch.cuda.Event] | Exception | None:
    """Return the next batch and the event of its copy, the error in its place, or none at the end."""
    try:
        batch = next(batches, None)
    except Exception as error:
        return error
    if batch is None:
        return None
    with torch.cuda.stream(stream):
        there = batch._replace(crops=batch.crops.to(device, non_blocking=True))
        return there, stream.record_event()
