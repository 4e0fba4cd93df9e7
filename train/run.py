"""The objects of a run, built in the order in which data passes through them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim import Optimizer

from ..images.preprocessing import to_pixels
from ..tokenizer.model import VisualTokenizer
from ..tokenizer.shapes import Pixels
from .checkpoints.states import keep_in_checkpoints
from .codebook.maintenance import CodebookMaintenance
from .codebook.monitor import CodebookMonitor
from .config import PARTS, TrainConfig
from .data.batches import training_batches
from .data.crops import TrainingCrops
from .data.source_images import SourceImages
from .data.unreadable_in_training import UnreadableInTraining
from .diagnostics.diagnostics import Diagnostics
from .finite_check import FiniteCheck
from .launcher import run_accelerator
from .logs.running_means import RunningMeans
from .losses.criteria import Criterion, build_criteria
from .losses.discriminator_training import Adversary
from .losses.terms import ADVERSARIAL, check_loss_names
from .optimizer.config import OptimizerConfig
from .optimizer.routing import ParameterAssignment, assign_parameters, build_optimizer
from .seeding import seed_noise, seed_weights
from .warm_start import starting_model
from .weight_ema import WeightEMA


@dataclass
class Run:
    """The objects of a run; what they hold is all of its state."""

    config: TrainConfig
    accelerator: Accelerator
    crops: TrainingCrops
    unreadable: UnreadableInTraining
    model: VisualTokenizer
    """The tokenizer itself."""
    wrapped_model: nn.Module
    """The tokenizer as accelerate wraps it, for the forward pass."""
    ema: WeightEMA
    """What is validated and exported."""
    criteria: list[Criterion]
    adversary: Adversary | None
    finite_check: FiniteCheck
    assignments: list[ParameterAssignment]
    optimizer_config: OptimizerConfig
    """The optimizer's config, with the learning rate for the batch size of the run."""
    optimizer: Optimizer
    monitor: CodebookMonitor
    maintenance: CodebookMaintenance
    diagnostics: Diagnostics
    means: RunningMeans

    @property
    def discriminator(self) -> nn.Module | None:
        """The network of the adversary."""
        return self.adversary.discriminator if self.adversary else None

    @property
    def optimizers(self) -> list[Optimizer]:
        """The tokenizer's optimizer, and the discriminator's if there is one."""
        return [self.optimizer, *([self.adversary.optimizer] if self.adversary else [])]

    def batches(self, start: int) -> Iterator[tuple[Pixels, list[str]]]:
        """Yield the pixels of this process for each step from `start` on, and what could not be read."""
        run, accelerator = self.config.run, self.accelerator
        rank, world = accelerator.process_index, accelerator.num_processes
        layout = torch.channels_last if run.channels_last else torch.contiguous_format
        for crops, unreadable in training_batches(self.crops, start, run.steps, rank, world, run.gradient_accumulation):
            yield to_pixels(crops.to(accelerator.device)).contiguous(memory_format=layout), unreadable


def prepare_run(config: TrainConfig, images: SourceImages | None = None) -> Run:
    """Build all objects of a run on this process's device, and register their state for checkpoints.

    The weights are the same on all processes; the random numbers after them differ.
    """
    accelerator = run_accelerator(config.run)
    crops = TrainingCrops(config.data, config.run.seed, config.model.preprocessing, images)
    seed_weights(config.run.seed)
    model = starting_model(config.model)
    freeze_all_but(model, config.model.train)
    check_loss_names(config.losses, model.quantizer, config.criteria)
    optimizer_config = config.optimizer.at_batch_size(config.data.batch_size)
    assignments = assign_parameters(model, optimizer_config)
    ema = WeightEMA(model.to(accelerator.device), config.run.ema_decay)
    monitor = CodebookMonitor(model.quantizer, accelerator, getattr(model.quantizer_in, "in_channels", None))
    maintenance = CodebookMaintenance(config.codebook, model.quantizer, accelerator, config.run.seed)
    if config.run.channels_last:
        model = model.to(memory_format=torch.channels_last)
    wrapped_model, optimizer = accelerator.prepare(model, build_optimizer(assignments, optimizer_config))
    adversary = (
        Adversary(config.adversarial, optimizer_config.lr, accelerator)
        if config.adversarial and config.losses.get(ADVERSARIAL)
        else None
    )
    diagnostics = Diagnostics(
        config.diagnostics, optimizer, model, config.data.batch_size, config.run.gradient_accumulation, accelerator
    )
    means = RunningMeans(accelerator)
    unreadable = UnreadableInTraining(config.data, sum(map(len, crops.sources)), accelerator)
    keep_in_checkpoints(accelerator, ema, [monitor, maintenance, diagnostics, unreadable, means, adversary])
    run = Run(
        config=config,
        accelerator=accelerator,
        crops=crops,
        unreadable=unreadable,
        model=model,
        wrapped_model=wrapped_model,
        ema=ema,
        criteria=build_criteria(config.criteria, config.losses, accelerator.device),
        adversary=adversary,
        finite_check=FiniteCheck(accelerator, config.run.out / "checkpoints"),
        assignments=assignments,
        optimizer_config=optimizer_config,
        optimizer=optimizer,
        monitor=monitor,
        maintenance=maintenance,
        diagnostics=diagnostics,
        means=means,
    )
    seed_noise(config.run.seed, accelerator.process_index, 0)
    return run


def freeze_all_but(model: VisualTokenizer, parts: Sequence[str]) -> None:
    """Freeze the other parts; a frozen quantizer is in eval mode, so its codes do not change either."""
    modules: dict[str, list[nn.Module]] = {
        "encoder": [model.encoder],
        "quantizer": [model.quantizer_in, model.quantizer, model.quantizer_out],
        "decoder": [model.decoder],
    }
    assert set(modules) == set(PARTS)
    model.train()
    for part in PARTS:
        for module in modules[part] if part not in parts else []:
            module.requires_grad_(False).eval()
