"""One training step: the tokenizer's, then the discriminator's, and what is observed of them."""

import math
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..cli.interruption import delay_signals
from ..tokenizer.model import Reconstruction
from ..tokenizer.quantizers import set_training_step
from ..tokenizer.shapes import Pixels
from .codebook.monitor import QuantizerIO, quantizer_io
from .losses.terms import ADVERSARIAL, loss_terms, weigh
from .run import Run


class TrainStepResult(NamedTuple):
    """What the log needs of a step, besides the running means."""

    seen: QuantizerIO
    measured: dict[str, float]
    """Scalars of the diagnostics by log path; empty at steps that are not logged."""
    lr: float


class StepResult(NamedTuple):
    """What the forwards of a step returned, without gradients."""

    scalars: dict[str, Tensor]
    """Scalars of this process by log path, means over the micro-batches; `loss/total` is the weighted sum."""
    seen: QuantizerIO
    reconstructions: list[Pixels]
    """One for each micro-batch."""


def train_step(run: Run, step: int, images: Pixels, is_logged: bool, is_checked: bool) -> TrainStepResult:
    """Update the tokenizer, the discriminator and the EMA; raise DivergedError at a step that `is_checked`."""
    lr_factor = run.optimizer_config.lr_ratio(step, run.config.run.steps)
    micro_batches = list(images.chunk(run.config.run.gradient_accumulation))
    set_training_step(run.model, step - 1)
    result = tokenizer_step(run, step, micro_batches)
    run.finite_check.observe(result.scalars["loss/total"], step)
    if is_checked:
        run.finite_check.check_losses()
    seen = result.seen._replace(tokens=run.finite_check.mask_tokens(result.seen.tokens))
    networks = [run.model, *run.criteria, *([run.discriminator] if run.discriminator else [])]
    run.diagnostics.before_step(step, is_logged)
    run.diagnostics.measure_curvature(step, images, partial(float32_loss, run, step), networks)
    scalars = {**result.scalars, "optimizer/gradient_norm": optimizer_step(run, lr_factor)}
    measured = run.diagnostics.after_step(step, is_logged)
    if run.adversary is not None:
        scalars |= run.adversary.learn(step, micro_batches, result.reconstructions, lr_factor)
    run.monitor.observe(seen, run.maintenance.observe(step, seen, run.optimizer))
    run.means.add(scalars)
    with delay_signals():
        run.ema.update(run.model)
    return TrainStepResult(seen, measured, run.optimizer_config.lr * lr_factor)


def tokenizer_step(run: Run, step: int, micro_batches: list[Pixels]) -> StepResult:
    """Accumulate the gradients of the micro-batches; the weights do not change yet."""
    run.optimizer.zero_grad()
    outputs, scalars = [], []
    for count, images in enumerate(micro_batches, 1):
        is_last = count == len(micro_batches)
        with nullcontext() if is_last else run.accelerator.no_sync(run.wrapped_model):
            with run.accelerator.autocast():
                output: Reconstruction = run.wrapped_model(images, run.maintenance.hardness(step))
            found = _losses(run, step, images, output)
            run.accelerator.backward(found["loss/total"] / len(micro_batches))
        if count == 1:
            run.diagnostics.after_first_micro_batch(step)
        scalars.append({name: value.detach().float() for name, value in found.items()})
        pixels, latent, quantized = (tensor.detach() for tensor in output[:3])
        outputs.append(Reconstruction(pixels, latent, quantized, output.tokens, losses={}))
    means = {name: torch.stack([each[name] for each in scalars]).mean() for name in scalars[0]}
    return StepResult(means, quantizer_io(run.model.quantizer, outputs), [output.pixels for output in outputs])


def optimizer_step(run: Run, lr_factor: float) -> Tensor:
    """Clip the gradient and update the weights at `lr_factor` of the peak learning rate; return the norm before clipping."""
    for group in run.optimizer.param_groups:
        group["lr"] = run.optimizer_config.lr * lr_factor
    max_norm = run.optimizer_config.clip_norm
    run.accelerator.unscale_gradients(run.optimizer)
    parameters = [parameter for group in run.optimizer.param_groups for parameter in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, math.inf if max_norm is None else max_norm)
    run.optimizer.step()
    return norm


def float32_loss(run: Run, step: int, images: Pixels) -> Tensor:
    """Return the loss of `tokenizer_step` with the tokenizer in float32, and without DDP."""
    forward = type(run.model).forward  # accelerate has wrapped the object's own in autocast
    with torch.autocast(images.device.type, enabled=False):
        output = forward(run.model, images, run.maintenance.hardness(step))
    return _losses(run, step, images, output)["loss/total"]


def _losses(run: Run, step: int, images: Pixels, output: Reconstruction) -> dict[str, Tensor]:
    """Return the terms by log path, unweighted, with their weighted sum as `loss/total`."""
    weights = run.config.losses
    terms = loss_terms(images, output, weights)
    for criterion in run.criteria:
        terms |= criterion.terms(images, output.pixels)
    scaled, scalars = dict(terms), {}
    if run.adversary is not None:
        compared = {name: term for name, term in terms.items() if name not in output.losses}
        terms[ADVERSARIAL] = run.adversary.term(step, output.pixels)
        reconstruction_loss = weigh(compared, {name: weights[name] for name in compared})
        last_layer = run.model.decoder.last_layer
        factor = run.adversary.factor(step, reconstruction_loss, terms[ADVERSARIAL], last_layer)
        scaled[ADVERSARIAL] = factor * terms[ADVERSARIAL]
        scalars = {"adversarial/factor": factor}
    losses = {"total": weigh(scaled, weights), **terms}
    return {f"loss/{name}": loss for name, loss in losses.items()} | scalars
