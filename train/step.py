"""One training step: the tokenizer's, then its opponent's, and what is observed of them."""

from collections.abc import Mapping
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
from .generative.recipe import RecipeOutput
from .generative.spread import NO_SPREAD
from .losses.terms import ADVERSARIAL, loss_terms, weigh
from .opponent import Made
from .optimizer.skipping import TAKEN, Decision, clipped_norm, step_unless
from .run import Run
from .speed import uncompiled


class TrainStepResult(NamedTuple):
    """What the log needs of a step, besides the running means."""

    seen: QuantizerIO
    measured: dict[str, float]
    """Scalars of the diagnostics by log path; empty at steps that are not logged."""
    lr: float
    alarms: list[str]
    """What is wrong with the samples of an extra decoder, a sentence each."""


class StepResult(NamedTuple):
    """What the forwards of a step returned, without gradients."""

    scalars: dict[str, Tensor]
    """Scalars of this process by log path, means over the micro-batches; `loss/total` is the weighted sum."""
    seen: QuantizerIO
    made: list[Made]
    """One for each micro-batch."""


def train_step(run: Run, step: int, images: Pixels, is_logged: bool, is_checked: bool) -> TrainStepResult:
    """Update the tokenizer, its opponent and the EMA, or nothing if losses or gradients are not finite.

    Raises DivergedError at a step that `is_checked`. Other steps do not wait for the device.
    """
    lr_factor = run.optimizer_config.lr_ratio(step, run.config.run.steps)
    micro_batches = list(images.chunk(run.config.run.gradient_accumulation))
    set_training_step(run.model, step - 1)
    for state in run.forward_states.values():
        state.remember()
    result = tokenizer_step(run, step, micro_batches)
    networks = [run.learner, *run.criteria, *([run.opponent.network] if run.opponent else [])]
    run.diagnostics.before_step(step, is_logged)
    run.diagnostics.measure_curvature(step, images, partial(float32_loss, run, step), networks)
    norm = clipped_norm(run.accelerator, run.optimizer, run.optimizer_config.clip_norm)
    decision = run.finite_checks["tokenizer"].observe(step, result.scalars, "loss/total", norm)
    optimizer_step(run, lr_factor, decision)
    measured = run.diagnostics.after_step(step, is_logged)
    learned = opponent_step(run, step, micro_batches, result, lr_factor, decision)
    if decision.may_skip:
        run.forward_states["tokenizer"].restore(decision.skip)
    if is_checked:
        for check in run.finite_checks.values():
            check.check()
    observe_step(run, step, result, norm, decision, learned)
    spread = run.spread.measure(micro_batches[0], result.made[0]) if run.spread and is_logged else NO_SPREAD
    return TrainStepResult(result.seen, measured | spread.values, run.optimizer_config.lr * lr_factor, spread.alarms)


def opponent_step(
    run: Run, step: int, images: list[Pixels], result: StepResult, lr_factor: float, decision: Decision
) -> tuple[dict[str, Tensor], Decision]:
    """Let the opponent learn from what was made in a step, unless the tokenizer skips it.

    Returns its scalars by log path, and whether its own step is skipped.
    """
    opponent = run.opponent
    if opponent is None:
        return {}, TAKEN
    name = opponent.name

    def decide(scalars: Mapping[str, Tensor], norm: Tensor) -> Decision:
        return run.finite_checks[name].observe(step, scalars, opponent.loss_path, norm, already=decision.skip)

    scalars: dict[str, Tensor] = {}
    own = decision
    if not decision.is_skipped:
        scalars, own = opponent.learn(step, images, result.made, lr_factor, decide)
    if own.may_skip:
        run.forward_states[name].restore(own.skip)
    return {} if own.is_skipped else scalars, own


def observe_step(
    run: Run,
    step: int,
    result: StepResult,
    norm: Tensor,
    decision: Decision,
    learned: tuple[dict[str, Tensor], Decision] = ({}, TAKEN),
) -> None:
    """Let the log, the codebook and the EMA take in a step; of one that is skipped, only that it was."""
    scalars = {} if decision.is_skipped else {**result.scalars, "optimizer/gradient_norm": norm}
    run.means.add(scalars, decision.skip)
    run.means.add_more(learned[0], learned[1].skip)
    if not decision.is_skipped:
        revived = run.maintenance.observe(step, result.seen, run.optimizer, decision.skip)
        run.monitor.observe(result.seen, revived, decision.skip)
    with delay_signals():
        run.ema.update(run.model, decision)


def tokenizer_step(run: Run, step: int, micro_batches: list[Pixels]) -> StepResult:
    """Accumulate the gradients of the micro-batches; the weights do not change yet."""
    run.optimizer.zero_grad()
    outputs, made, scalars = [], [], []
    for count, images in enumerate(micro_batches, 1):
        is_last = count == len(micro_batches)
        with nullcontext() if is_last else run.accelerator.no_sync(run.wrapped_model):
            with run.accelerator.autocast():
                returned = _recipe_output(run.wrapped_model(images, run.maintenance.hardness(step)))
            output = returned.reconstruction
            found = _losses(run, step, images, output) | returned.scalars
            run.accelerator.backward(found["loss/total"] / len(micro_batches))
        if count == 1:
            run.diagnostics.after_first_micro_batch(step)
        scalars.append({name: value.detach().float() for name, value in found.items()})
        pixels, latent, quantized = (tensor.detach() for tensor in output[:3])
        outputs.append(Reconstruction(pixels, latent, quantized, output.tokens, losses={}))
        made.append(Made(pixels, quantized, returned.base.detach()))
    means = {name: torch.stack([each[name] for each in scalars]).mean() for name in scalars[0]}
    return StepResult(means, quantizer_io(run.model.quantizer, outputs), made)


def optimizer_step(run: Run, lr_factor: float, decision: Decision = TAKEN) -> None:
    """Update the weights at `lr_factor` of the peak learning rate from clipped gradients, unless the step is skipped."""
    for group in run.optimizer.param_groups:
        group["lr"] = run.optimizer_config.lr * lr_factor
    if not decision.is_skipped:
        step_unless(run.optimizer, decision.skip)


def float32_loss(run: Run, step: int, images: Pixels) -> Tensor:
    """Return the loss of `tokenizer_step` with the tokenizer in float32, and without DDP."""
    forward = type(run.learner).forward  # accelerate has wrapped the object's own in autocast
    with uncompiled():
        with torch.autocast(images.device.type, enabled=False):
            returned = _recipe_output(forward(run.learner, images, run.maintenance.hardness(step)))
        return _losses(run, step, images, returned.reconstruction)["loss/total"]


def _recipe_output(returned: Reconstruction | RecipeOutput) -> RecipeOutput:
    """Return the output of a recipe, or that of a tokenizer as one: its pixels are the plain decoder's answer."""
    return returned if isinstance(returned, RecipeOutput) else RecipeOutput(returned, returned.pixels, {})


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
        last_layer = run.trained_decoder.last_layer
        factor = run.adversary.factor(step, reconstruction_loss, terms[ADVERSARIAL], last_layer)
        scaled[ADVERSARIAL] = factor * terms[ADVERSARIAL]
        scalars = {"adversarial/factor": factor}
    losses = {"total": weigh(scaled, weights), **terms}
    return {f"loss/{name}": loss for name, loss in losses.items()} | scalars
