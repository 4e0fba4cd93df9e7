"""The training of the discriminator, beside that of the tokenizer."""

from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...tokenizer.shapes import Pixels
from ..opponent import Decide, Made
from ..optimizer.muon import Muon
from ..optimizer.skipping import TAKEN, Decision, clipped_norm, step_unless
from ..speed import uncompiled
from .adversarial import (
    AdversarialConfig,
    LeCam,
    adaptive_weight,
    discriminator_loss,
    generator_loss,
    has_begun,
    r1_penalty,
    ramp,
)


class Adversary:
    """A discriminator with its optimizer, the opponent of a run with an adversarial loss.

    The discriminator is not wrapped in DDP, because the tokenizer's step also runs it, with its parameters frozen. Its
    gradients are averaged over the processes here instead.
    """

    name = "discriminator"
    loss_path = "discriminator/loss"
    section = "adversarial"
    lr_option = "adversarial.lr"
    steps_each = 1

    def __init__(self, config: AdversarialConfig, lr: float, accelerator: Accelerator):
        self.config = config
        self.start = config.start
        self._accelerator = accelerator
        self.network = config.discriminator.build().to(accelerator.device)
        self._parameters = [p for p in self.network.parameters() if p.requires_grad]
        self._lr = config.lr or lr
        group = {"params": self._parameters, "use_muon": False}
        self.optimizer = accelerator.prepare(Muon([group], lr=self._lr, betas=config.betas, eps=config.eps))
        """AdamW for all parameters, by the optimizer that can skip a step on the device."""
        self._lecam = LeCam(config.lecam_decay, self._averaged)

    def is_active(self, step: int) -> bool:
        """Return whether the discriminator learns at a step, counted from 1."""
        return has_begun(step, self.config.start)

    def term(self, step: int, reconstruction: Pixels) -> Tensor:
        """Return the tokenizer's unweighted adversarial loss, a scalar; 0 before the discriminator starts."""
        if not self.is_active(step):
            return reconstruction.new_zeros((), dtype=torch.float32)
        self._set_learning(False)
        with self._accelerator.autocast():
            logits = self.network(reconstruction)
        return generator_loss(self.config.loss, logits)

    def factor(self, step: int, reconstruction_loss: Tensor, term: Tensor, last_layer: nn.Parameter) -> Tensor:
        """Return what multiplies the term besides its weight: the ramp, times the adaptive weight if that is on."""
        factor = ramp(step, self.config.start, self.config.ramp)
        if not self.config.adaptive or not self.is_active(step):
            return torch.full((), factor, device=term.device)  # a copy from the CPU would sync
        limit = self.config.adaptive_limit
        return factor * adaptive_weight(reconstruction_loss, term, last_layer, limit, self._averaged)

    def learn(
        self,
        step: int,
        images: Sequence[Pixels],
        made: Sequence[Made],
        lr_factor: float,
        decide: Decide = lambda _scalars, _norm: TAKEN,
    ) -> tuple[dict[str, Tensor], Decision]:
        """Take one step on micro-batches of images and of what was made of them; see `Opponent.learn`."""
        if not self.is_active(step):
            return {}, TAKEN
        averages = self._lecam.averages
        self._set_learning(True)
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr * lr_factor
        self.optimizer.zero_grad()
        pairs = zip(images, (each.pixels for each in made), strict=True)
        parts = [self._backward(step, pair, len(images)) for pair in pairs]
        for parameter in self._parameters:
            if parameter.grad is not None:
                parameter.grad = self._averaged(parameter.grad)
        norm = clipped_norm(self._accelerator, self.optimizer, self.config.clip_norm)
        scalars = {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
        decision = decide(scalars, norm)
        if not decision.is_skipped:
            step_unless(self.optimizer, decision.skip)
        if decision.may_skip:
            self._lecam.restore(averages, decision.skip)
        return scalars, decision

    def state_dict(self) -> dict[str, Any]:
        return {"discriminator": self.network.state_dict(), "lecam": self._lecam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["discriminator"])
        self._lecam.load_state_dict(state["lecam"])

    def _backward(self, step: int, pair: tuple[Pixels, Pixels], parts: int) -> dict[str, Tensor]:
        config, (real, fake) = self.config, pair
        wants_r1 = config.r1 > 0 and step % config.r1_every == 0
        real = real.detach().requires_grad_(wants_r1)
        with self._accelerator.autocast():
            fake_logits = self.network(fake)
            if not wants_r1:
                real_logits = self.network(real)
        if wants_r1:
            # Fused attention and compiled networks cannot be differentiated twice; gradients of pixels underflow in float16.
            with sdpa_kernel(SDPBackend.MATH), uncompiled():
                real_logits = self.network(real)
        loss = discriminator_loss(config.loss, real_logits, fake_logits)
        scalars = {
            self.loss_path: loss.detach(),
            "discriminator/real": real_logits.detach().mean(),
            "discriminator/fake": fake_logits.detach().mean(),
        }
        if config.lecam > 0:
            penalty = self._lecam.penalty(real_logits, fake_logits)
            scalars["discriminator/lecam"] = penalty.detach()
            loss = loss + config.lecam * penalty
        if wants_r1:
            penalty = r1_penalty(real_logits, real)
            scalars["discriminator/r1"] = penalty.detach()
            loss = loss + config.r1 * config.r1_every * penalty
        self._accelerator.backward(loss / parts)
        return scalars

    def _set_learning(self, learning: bool) -> None:
        for parameter in self._parameters:
            parameter.requires_grad_(learning)

    def _averaged(self, tensor: Tensor) -> Tensor:
        """Return the mean over all processes."""
        if self._accelerator.num_processes == 1:
            return tensor
        mean = self._accelerator.reduce(tensor, reduction="mean")
        assert isinstance(mean, Tensor)
        return mean
