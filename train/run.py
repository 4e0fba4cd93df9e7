"""Everything that a run is made of, built in the order of the data's way."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim import Optimizer

from ..tokenizer.model import VisualTokenizer
from .average import WeightAverage
from .checkpoints.states import HasState, keep_in_checkpoints
from .codebook.monitor import CodebookMonitor
from .codebook.revival import CodebookMaintenance
from .config import PARTS, TrainConfig
from .data.crops import TrainingCrops
from .data.source_images import SourceImages
from .data.unreadable_in_training import UnreadableInTraining
from .diagnostics.diagnostics import Diagnostics
from .divergence import Divergence
from .launcher import run_accelerator
from .logs.running_mean import ScalarWindow
from .losses.criteria import Criterion, is_used
from .losses.discriminator_training import Adversary
from .losses.terms import ADVERSARIAL, check_loss_names
from .optimizer.routing import Claim, OptimizerConfig, build_optimizer, claim_parameters
from .seeding import seed_noise, seed_weights
from .warm_start import starting_model


@dataclass
class Run:
    """The objects of a run; its state is all that they hold."""

    config: TrainConfig
    accelerator: Accelerator
    crops: TrainingCrops
    model: VisualTokenizer
    """The tokenizer as it is."""
    trained: nn.Module
    """The tokenizer as the launcher wraps it, for the forward pass."""
    claims: list[Claim]
    optimizer_config: OptimizerConfig
    """The optimizer's config, its rate being that for the batch size of the run."""
    optimizer: Optimizer
    average: WeightAverage
    """What is validated and exported."""
    criteria: list[Criterion]
    adversary: Adversary | None
    monitor: CodebookMonitor
    care: CodebookMaintenance
    diagnostics: Diagnostics
    window: ScalarWindow
    unreadable: UnreadableInTraining
    divergence: Divergence

    @property
    def networks(self) -> list[nn.Module]:
        """All that the loss runs and that holds buffers."""
        return [self.model, *self.criteria, *([self.adversary.discriminator] if self.adversary else [])]


def prepare_run(config: TrainConfig, images: SourceImages | None = None) -> Run:
    """Build all objects of a run, on this process's device, their state registered for checkpoints.

    Weights are the same on all processes; the random numbers that are drawn after them are those of each.
    """
    accelerator = run_accelerator(config.run)
    crops = TrainingCrops(config.data, config.run.seed, config.model.preprocessing, images)
    seed_weights(config.run.seed)
    model = starting_model(config.model)
    freeze_all_but(model, config.model.train)
    check_loss_names(config.losses, model.quantizer, config.criteria)
    optimizer_config = config.optimizer.at_batch_size(config.data.batch_size)
    claims = claim_parameters(model, optimizer_config)
    average = WeightAverage(model.to(accelerator.device), config.run.ema_decay)
    monitor = CodebookMonitor(model.quantizer, accelerator, getattr(model.quantizer_in, "in_channels", None))
    care = CodebookMaintenance(config.codebook, model.quantizer, accelerator, config.run.seed)
    if config.run.channels_last:
        model = model.to(memory_format=torch.channels_last)
    trained, optimizer = accelerator.prepare(model, build_optimizer(claims, optimizer_config))
    adversary = _adversary(config, optimizer_config.lr, accelerator)
    diagnostics = Diagnostics(
        config.diagnostics, optimizer, model, config.data.batch_size, config.run.gradient_accumulation, accelerator
    )
    window = ScalarWindow(accelerator)
    unreadable = UnreadableInTraining(config.data, sum(map(len, crops.sources)), accelerator)
    shared: list[HasState] = [average, monitor, care, diagnostics, unreadable, *([adversary] if adversary else [])]
    keep_in_checkpoints(accelerator, shared, [monitor, care, window, unreadable])
    run = Run(
        config=config,
        accelerator=accelerator,
        crops=crops,
        model=model,
        trained=trained,
        claims=claims,
        optimizer_config=optimizer_config,
        optimizer=optimizer,
        average=average,
        criteria=_criteria(config, accelerator.device),
        adversary=adversary,
        monitor=monitor,
        care=care,
        diagnostics=diagnostics,
        window=window,
        unreadable=unreadable,
        divergence=Divergence(accelerator),
    )
    seed_noise(config.run.seed, accelerator.process_index, 0)
    return run


def freeze_all_but(model: VisualTokenizer, parts: Sequence[str]) -> None:
    """Let only the named parts learn; a quantizer that does not is in evaluation mode, so its codes stay too."""
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


def _criteria(config: TrainConfig, device: torch.device) -> list[Criterion]:
    used = [each for each in config.criteria.values() if is_used(each, config.losses)]
    return [each.build().to(device).requires_grad_(False).eval() for each in used]


def _adversary(config: TrainConfig, lr: float, accelerator: Accelerator) -> Adversary | None:
    if config.adversarial is None or not config.losses.get(ADVERSARIAL):
        return None
    return Adversary(config.adversarial, lr, accelerator)
