"""One step of a run: the tokenizer's, then the discriminator's."""

from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from ..tokenizer.model import Reconstruction
from ..tokenizer.shapes import Pixels
from .codebook.monitor import Seen, seen_in
from .losses.terms import ADVERSARIAL, RECONSTRUCTION_LOSSES, loss_terms, weigh
from .run import Run


class StepResult(NamedTuple):
    """What a step leaves behind, without gradients."""

    loss: Tensor
    """The weighted sum, a scalar of this process."""
    scalars: dict[str, Tensor]
    """Scalars of this process by log path, means over the micro-batches."""
    seen: Seen
    reconstructions: list[Pixels]
    """Of each micro-batch."""


class _Part(NamedTuple):
    loss: Tensor
    scalars: dict[str, Tensor]
    output: Reconstruction


def tokenizer_step(run: Run, step: int, micro_batches: list[Pixels]) -> StepResult:
    """Add up the gradients of the micro-batches; the caller takes the optimizer's step."""
    run.optimizer.zero_grad()
    parts = []
    for number, pixels in enumerate(micro_batches, 1):
        waits = number < len(micro_batches)
        with run.accelerator.no_sync(run.trained) if waits else nullcontext():
            part = _forward(run, step, pixels)
            run.accelerator.backward(part.loss / len(micro_batches))
        if number == 1:
            run.diagnostics.after_first_micro_batch(step)
        parts.append(_without_gradients(part))
    outputs = [part.output for part in parts]
    seen = seen_in(run.model.quantizer, outputs)
    scalars = {name: torch.stack([part.scalars[name] for part in parts]).mean() for name in parts[0].scalars}
    loss = torch.stack([part.loss for part in parts]).mean()
    return StepResult(loss, scalars, seen, [output.pixels for output in outputs])


def loss_alone(run: Run, step: int, pixels: Pixels) -> Tensor:
    """Return the loss of `tokenizer_step` over pixels, the tokenizer in float32 and out of distributed training's sight."""
    forward = type(run.model).forward  # accelerate has put autocast round the object's own
    with torch.autocast(pixels.device.type, enabled=False):
        output = forward(run.model, pixels, run.care.hardness(step))
    return _judged(run, step, pixels, output).loss


def _forward(run: Run, step: int, pixels: Pixels) -> _Part:
    with run.accelerator.autocast():
        output: Reconstruction = run.trained(pixels, run.care.hardness(step))
    return _judged(run, step, pixels, output)


def _judged(run: Run, step: int, pixels: Pixels, output: Reconstruction) -> _Part:
    weights = run.config.losses
    terms = loss_terms(pixels, output, weights)
    compared = {name: terms[name] for name in RECONSTRUCTION_LOSSES if name in terms}
    for criterion in run.criteria:
        compared |= criterion.terms(pixels, output.pixels)
    terms |= compared
    weighed, extra = dict(terms), {}
    if run.adversary is not None:
        terms[ADVERSARIAL] = run.adversary.term(step, output.pixels)
        reconstruction_loss = weigh(compared, {name: weights[name] for name in compared})
        last_layer = run.model.decoder.last_layer
        factor = run.adversary.factor(step, reconstruction_loss, terms[ADVERSARIAL], last_layer)
        weighed[ADVERSARIAL] = factor * terms[ADVERSARIAL]
        extra = {"adversarial/factor": factor}
    loss = weigh(weighed, weights)
    scalars = {f"loss/{name}": term for name, term in {"total": loss, **terms}.items()}
    return _Part(loss, scalars | extra, output)


def _without_gradients(part: _Part) -> _Part:
    output = Reconstruction(
        pixels=part.output.pixels.detach(),
        latent=part.output.latent.detach(),
        quantized=part.output.quantized.detach(),
        tokens=part.output.tokens,
        losses={},
    )
    return _Part(part.loss.detach(), {name: value.detach().float() for name, value in part.scalars.items()}, output)
