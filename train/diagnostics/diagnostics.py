"""Measurements around an optimizer step: update statistics, and noise and curvature of the gradient."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
from accelerate import Accelerator
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from ...tokenizer.config import Config
from ...tokenizer.model import VisualTokenizer
from ...tokenizer.shapes import Pixels
from .curvature import MIN_IMAGES, Curvature
from .noise_scale import NoiseScale, optimizer_moments, squared_norms, two_batch_moments
from .update_statistics import UpdateStatistics


class DiagnosticsConfig(Config):
    """What to measure of gradients and updates."""

    update_statistics: bool = True
    """Whether to log the size of updates, the entropy of singular values, and AdamW's second moments."""
    noise_every: Annotated[int, Field(ge=0)] = 10
    """Steps between measurements of the gradient noise; 0 turns them off."""
    curvature_every: Annotated[int, Field(ge=0)] = 0
    """Steps between measurements of the curvature, which take as long as about 5 steps in float32; 0 turns them off."""


class Diagnostics:
    """Reads gradients and optimizer around a step; its state is part of the checkpoint.

    The noise scale is estimated from the momentum and, if there are several micro-batches, also from the gradient of the
    first one and that of the whole batch.
    """

    def __init__(
        self,
        config: DiagnosticsConfig,
        optimizer: Optimizer,
        model: VisualTokenizer,
        batch_size: int,
        micro_batches: int,
        accelerator: Accelerator,
    ):
        self._config = config
        self._optimizer = optimizer
        self._model = model
        self._batch_size = batch_size
        self._micro_batches = micro_batches
        self._accelerator = accelerator
        self._updates = UpdateStatistics(optimizer, model)
        self._noise = {"momentum": NoiseScale(), "batches": NoiseScale()}
        self._small: dict[str, Tensor] = {}
        self._curvature = Curvature(optimizer, model, accelerator)
        self._parts: dict[str, NoiseScale | Curvature] = {**self._noise, "curvature": self._curvature}
        images = batch_size // accelerator.num_processes
        if config.curvature_every and images < MIN_IMAGES:
            raise ValueError(
                f"diagnostics.curvature_every is {config.curvature_every}, but a process has {images} images per step "
                f"and needs {MIN_IMAGES}: set it to 0, or enlarge data.batch_size."
            )

    def _measures_noise(self, step: int) -> bool:
        return self._config.noise_every > 0 and step % self._config.noise_every == 0

    def after_first_micro_batch(self, step: int) -> None:
        """Read the gradient while it is that of the first of several micro-batches."""
        if self._micro_batches == 1 or not self._measures_noise(step):
            return
        # The loss of a micro-batch is divided by their number.
        norms = {name: norm * self._micro_batches**2 for name, norm in self._norms().items()}
        mean = self._accelerator.reduce(torch.stack(list(norms.values())), reduction="mean")
        self._small = dict(zip(norms, mean, strict=True))

    def before_step(self, step: int, is_logged: bool) -> None:
        """Read the gradient of the whole batch, before it is clipped."""
        if is_logged and self._config.update_statistics:
            self._updates.before_step()
        if self._small and self._measures_noise(step):
            small_batch = self._batch_size // (self._micro_batches * self._accelerator.num_processes)
            big = self._norms()
            self._noise["batches"].observe(
                {name: two_batch_moments(self._small[name], big[name], small_batch, self._batch_size) for name in big}
            )
            self._small = {}

    def measure_curvature(
        self, step: int, images: Pixels, loss: Callable[[Pixels], Tensor], modules: Sequence[nn.Module]
    ) -> None:
        """Measure the curvature at every `curvature_every`-th step, before the optimizer's step; see Curvature.measure.

        `images` are all of this process. It uses as many of them as a micro-batch has, and half of those at a time, since
        they need twice the memory in float32.
        """
        if self._config.curvature_every and step % self._config.curvature_every == 0:
            micro_batch = len(images) // self._micro_batches
            taken = max(micro_batch, MIN_IMAGES + 1)
            self._curvature.measure(step, images[:taken], max(1, micro_batch // 2), loss, modules)

    def after_step(self, step: int, is_logged: bool) -> dict[str, float]:
        """Read the update, with the gradient still in place; return scalars by log path at steps that are logged."""
        if self._measures_noise(step):
            self._noise["momentum"].observe(optimizer_moments(self._optimizer, self._model, self._batch_size))
        if not is_logged:
            return {}
        values = self._updates.after_step() if self._config.update_statistics else {}
        for name, scale in self._noise.items():
            values |= scale.summarise(f"noise_scale/{name}")
        return values | self._curvature.summarise()

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self._parts.items():
            part.load_state_dict(state[name])

    def _norms(self) -> dict[str, Tensor]:
        return squared_norms((name, parameter.grad) for name, parameter in self._model.named_parameters())
