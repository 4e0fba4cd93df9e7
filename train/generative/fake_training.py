"""The training of the fake network of flow generator matching, beside that of the decoder."""

from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from ...tokenizer.decoders.base import ExtraDecoder
from ...tokenizer.shapes import Pixels
from ..opponent import Decide, Made
from ..optimizer.config import OptimizerConfig
from ..optimizer.routing import assign_parameters, build_optimizer
from ..optimizer.skipping import TAKEN, Decision, clipped_norm, step_unless
from .flow import flow_loss, interpolate, sample_times
from .recipe import Predicts, one_step, scaled_residual


class FakeTraining:
    """A network that flow matching fits to the decoder's own samples, the opponent of the recipe fgm.

    Outside `learn` it is frozen: the decoder's step also runs it. As a discriminator, it is not wrapped in DDP, and its
    gradients are averaged over the processes here.
    """

    name = "fake network"
    loss_path = "fake/loss"
    section = "fake"
    lr_option = "decoder.recipe.fake_lr"
    start = 0

    def __init__(
        self,
        network: ExtraDecoder,
        generator: ExtraDecoder,
        steps: int,
        optimizer: OptimizerConfig,
        accelerator: Accelerator,
    ):
        assert isinstance(network, Predicts) and isinstance(generator, Predicts)
        self.network = network.requires_grad_(True).train()
        self._generator = generator
        self.steps_each = steps
        self._config = optimizer.model_copy(update={"rules": None, "codebook_rows": "dense"})
        self._accelerator = accelerator
        assignments = assign_parameters(network, self._config)
        self._parameters = [assignment.parameter for assignment in assignments]
        self.optimizer = accelerator.prepare(build_optimizer(assignments, self._config))
        self._set_learning(False)

    def learn(
        self,
        step: int,  # noqa: ARG002  # opponents share one signature
        images: Sequence[Pixels],  # noqa: ARG002
        made: Sequence[Made],
        lr_factor: float,
        decide: Decide = lambda _scalars, _norm: TAKEN,
    ) -> tuple[dict[str, Tensor], Decision]:
        """Take the steps of one step of the decoder; the first is on the samples of that step, each other on fresh ones.

        Returns scalars and decision of the last.
        """
        self._set_learning(True)
        for group in self.optimizer.param_groups:
            group["lr"] = self._config.lr * lr_factor
        scalars, decision = self._step(made, decide, is_first=True)
        for _ in range(self.steps_each - 1):
            scalars, decision = self._step(made, decide, is_first=False)
        self._set_learning(False)
        return scalars, decision

    def state_dict(self) -> dict[str, Any]:
        return {"fake": self.network.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["fake"])

    def _step(self, made: Sequence[Made], decide: Decide, is_first: bool) -> tuple[dict[str, Tensor], Decision]:
        self.optimizer.zero_grad()
        losses = [self._backward(each, self._sample(each, is_first), len(made)) for each in made]
        if self._accelerator.num_processes > 1:
            for parameter in self._parameters:
                if parameter.grad is not None:
                    parameter.grad = self._accelerator.reduce(parameter.grad, reduction="mean")
        norm = clipped_norm(self._accelerator, self.optimizer, self._config.clip_norm)
        scalars = {self.loss_path: torch.stack(losses).mean()}
        decision = decide(scalars, norm)
        if not decision.is_skipped:
            step_unless(self.optimizer, decision.skip)
        return scalars, decision

    @torch.no_grad()
    def _sample(self, made: Made, is_first: bool) -> Tensor:
        """Return scaled residuals that the decoder makes: those of its step, or of fresh noise."""
        if is_first:
            return scaled_residual(made.pixels, made.base, self._generator.scale)
        noise = torch.randn_like(made.base, dtype=torch.float32)
        with self._accelerator.autocast():
            return one_step(self._generator, noise, made.quantized, made.base)

    def _backward(self, made: Made, sample: Tensor, parts: int) -> Tensor:
        times = sample_times(len(sample), sample.device)
        noisy = interpolate(sample, torch.randn_like(sample), times)
        with self._accelerator.autocast():
            predicted = self.network.predict(noisy, times, made.quantized, made.base)
        loss = flow_loss(predicted, sample, times)
        self._accelerator.backward(loss / parts)
        return loss.detach()

    def _set_learning(self, learning: bool) -> None:
        for parameter in self._parameters:
            parameter.requires_grad_(learning)
