"""The objects of a run, built in the order in which data passes through them."""

from collections.abc import Iterator
from typing import Any

from accelerate.utils import set_seed
from torch import nn
from torch.optim import Optimizer

from ..images.preprocessing import to_pixels
from ..tokenizer.decoders.base import ExtraDecoder
from ..tokenizer.networks.base import Decoder
from ..tokenizer.shapes import Pixels
from .checkpoints.states import keep_in_checkpoints
from .codebook.maintenance import CodebookMaintenance
from .codebook.monitor import CodebookMonitor
from .config import TrainConfig
from .data.batches import training_batches
from .data.crops import TrainingCrops
from .data.on_device import batches_on
from .data.source_images import SourceImages
from .data.unreadable_images import UnreadableInTraining
from .diagnostics.diagnostics import Diagnostics
from .generative.recipe import Recipe
from .generative.scale import ResidualScale
from .generative.spread import SpreadWatch
from .launcher import run_accelerator, seed_noise
from .logs.running_means import RunningMeans
from .losses.criteria import build_criteria
from .losses.discriminator_training import Adversary
from .losses.terms import check_loss_names
from .optimizer.routing import assign_parameters, build_optimizer, routing_table
from .run_parts import build_opponent, compile_all, finite_checks, forward_states, freeze_all_but, own_losses
from .speed import memory_format, recompute_activations
from .warm_start import starting_model
from .weight_ema import WeightEMA


class Run:
    """The objects of a run on this process's device; what they hold is all of its state, which checkpoints keep.

    The weights are the same on all processes; the random numbers after them differ.
    """

    def __init__(self, config: TrainConfig, images: SourceImages | None = None):
        self.config = config
        self.accelerator = accelerator = run_accelerator(config.run)
        self.crops = TrainingCrops(config.data, config.run.seed, config.model.preprocessing, images)
        set_seed(config.run.seed)
        self.model = model = starting_model(config.model, config.decoder)
        """The tokenizer itself."""
        freeze_all_but(model, config.model.train)
        self.recipe: Recipe | None = config.decoder.recipe.build(model, config.decoder.name) if config.decoder else None
        """What trains an extra decoder of the tokenizer."""
        check_loss_names(config.losses, own_losses(model, config.decoder), config.criteria)
        self.optimizer_config = config.optimizer.at_batch_size(config.data.batch_size)
        """The optimizer's config, with the learning rate for the batch size of the run."""
        assignments = assign_parameters(model, self.optimizer_config)
        self.routing = routing_table(assignments)
        self.ema = WeightEMA(model.to(accelerator.device), config.run.ema_decay)
        """What is validated and exported."""
        self.monitor = CodebookMonitor(model.quantizer, accelerator, getattr(model.quantizer_in, "in_channels", None))
        self.maintenance = CodebookMaintenance(config.codebook, model.quantizer, accelerator, config.run.seed)
        self.memory_format = memory_format(config.run.memory_format, accelerator.device)
        """Order of images and kernels in memory."""
        self.learner: nn.Module = self.recipe or model
        """What runs forward in a step: the tokenizer, or the recipe with the tokenizer in it."""
        self.learner.to(accelerator.device).to(memory_format=self.memory_format)
        if config.run.activation_checkpointing:
            recompute_activations([self.trained_decoder] if self.recipe else [model.encoder, model.decoder])
        self.wrapped_model: nn.Module
        """The learner as accelerate wraps it."""
        self.optimizer: Optimizer
        optimizer = build_optimizer(assignments, self.optimizer_config)
        self.wrapped_model, self.optimizer = accelerator.prepare(self.learner, optimizer)
        self.opponent = build_opponent(config, self.recipe, self.optimizer_config, accelerator)
        """What learns from what the model makes."""
        self.diagnostics = Diagnostics(
            config.diagnostics,
            self.optimizer,
            model,
            config.data.batch_size,
            config.run.gradient_accumulation,
            accelerator,
        )
        self.criteria = build_criteria(config.criteria, config.losses, accelerator.device)
        if config.run.compile:
            compile_all(model, self.recipe, self.opponent, self.criteria)
        self.finite_checks = finite_checks(config.run, accelerator, self.opponent)
        """What decides which steps of each network are skipped, by its name."""
        self.forward_states = forward_states(model, self.opponent)
        """What forwards of each network change, by its name."""
        self.scale: ResidualScale | None = None
        self.spread: SpreadWatch | None = None
        if self.recipe and config.decoder:
            copies = [self.recipe.decoder, self.ema.model.extra_decoder(config.decoder.name)]
            self.scale = ResidualScale(copies)
            self.spread = SpreadWatch(self.recipe.decoder, config.decoder.recipe.remedy, accelerator)
        self.means = RunningMeans(accelerator)
        self.unreadable = UnreadableInTraining(
            config.data.unreadable_limit, config.data.batch_size, sum(map(len, self.crops.sources)), accelerator
        )
        keep_in_checkpoints(
            accelerator,
            self.ema,
            [
                *(self.monitor, self.maintenance, self.diagnostics, self.unreadable, self.means, self.opponent),
                self.spread,
                *self.finite_checks.values(),
            ],
        )
        seed_noise(config.run.seed, accelerator.process_index, 0)

    @property
    def facts(self) -> dict[str, Any]:
        """What a checkpoint says of the run, besides its states: its opponent, and the scale of an extra decoder."""
        opponent = self.opponent.name if self.opponent else None
        return {"opponent": opponent} | ({"scale": self.scale.value} if self.scale else {})

    @property
    def adversary(self) -> Adversary | None:
        """The opponent if it is a discriminator, whose verdict is a term of the loss."""
        return self.opponent if isinstance(self.opponent, Adversary) else None

    @property
    def decoder_name(self) -> str | None:
        """Name of the extra decoder that is trained, if one is."""
        return self.recipe.name if self.recipe else None

    @property
    def trained_decoder(self) -> Decoder | ExtraDecoder:
        """The decoder that makes the pixels of a step."""
        return self.recipe.decoder if self.recipe else self.model.decoder

    @property
    def parameter_groups(self) -> list[dict[str, Any]]:
        """The groups of the tokenizer's optimizer, and of the opponent's if there is one."""
        return self.optimizer.param_groups + (self.opponent.optimizer.param_groups if self.opponent else [])

    def batches(self, start: int) -> Iterator[tuple[Pixels, list[str]]]:
        """Yield the pixels of this process for each step from `start` on, and what could not be read."""
        run, accelerator = self.config.run, self.accelerator
        rank, world = accelerator.process_index, accelerator.num_processes
        batches = training_batches(self.crops, start, run.steps, rank, world, run.gradient_accumulation)
        for crops, unreadable in batches_on(batches, accelerator.device):
            yield to_pixels(crops).contiguous(memory_format=self.memory_format), unreadable
