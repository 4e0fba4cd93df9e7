"""The configuration of a run, strict and frozen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import SerializeAsAny, model_validator

from ..tokenizer.config import Choice, Config, parse_config
from ..tokenizer.networks.architectures import Architecture
from ..tokenizer.preprocessing import PreprocessingConfig
from ..tokenizer.quantizers import QUANTIZERS, QuantizerConfig
from .codebook.maintenance import CodebookConfig
from .data.config import DataConfig
from .diagnostics.diagnostics import DiagnosticsConfig
from .generative.recipes import DecoderTrainingConfig
from .losses.adversarial import AdversarialConfig
from .losses.criteria import CriterionConfig, parse_criteria
from .losses.terms import ADVERSARIAL, RECONSTRUCTION_LOSSES, LossWeights
from .optimizer.config import OptimizerConfig
from .run_config import RunConfig

CONFIG_FILE = "config.yaml"
Part: TypeAlias = Literal["encoder", "quantizer", "decoder"]
PARTS: tuple[Part, ...] = get_args(Part)


class ModelConfig(Config):
    """The tokenizer to train."""

    architecture: Architecture
    """Encoder and decoder."""
    quantizer: Annotated[QuantizerConfig, Choice(QUANTIZERS)]
    """Quantizer; its keys depend on its name."""
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    """Preprocessing of the exported tokenizer, and of validation."""
    train: list[Part] = list(PARTS)
    """Parts to train: encoder, quantizer, decoder; the others are frozen. Empty for a run that trains an extra decoder."""
    init_from: Path | None = None
    """Tokenizer folder to take initial weights from, where they fit; the rest is initialised at random."""


class TrainConfig(Config):
    """A whole run."""

    run: RunConfig
    """Where the run writes, how long it is, and what it computes in."""
    data: DataConfig
    """Images to train on and to validate on."""
    model: ModelConfig
    """Tokenizer to train."""
    losses: LossWeights
    """Weight of each loss by name; every loss of the model needs one, and 0 leaves it out."""
    optimizer: OptimizerConfig
    """Optimizer, learning rate and its schedule."""
    codebook: CodebookConfig = CodebookConfig()
    """Initialization and revival of codes."""
    diagnostics: DiagnosticsConfig = DiagnosticsConfig()
    """What to measure of gradients and updates."""
    criteria: dict[str, SerializeAsAny[CriterionConfig]] = {}
    """Losses that need a network, such as perceptual: a section for each, under its name."""
    adversarial: AdversarialConfig | None = None
    """Discriminator and its training, for the loss adversarial."""
    decoder: DecoderTrainingConfig | None = None
    """An extra decoder to train for the tokenizer of model.init_from, which is frozen; none trains the tokenizer itself."""

    @model_validator(mode="before")
    @classmethod
    def _parse_criteria(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and isinstance(values.get("criteria"), Mapping):
            return {**values, "criteria": parse_criteria(values["criteria"])}
        return values

    @model_validator(mode="after")
    def _check_sizes(self) -> "TrainConfig":
        sizes = {"data.size": self.data.size, "model.preprocessing.size": self.model.preprocessing.size}
        for name, size in sizes.items():
            self.model.architecture.require_side(name, size)
        return self

    @model_validator(mode="after")
    def _check_decoder(self) -> "TrainConfig":
        if self.decoder is None:
            if not self.model.train:
                raise ValueError(
                    "model.train is empty, so nothing would be trained: name encoder, quantizer or decoder."
                )
            return self
        if self.model.train:
            raise ValueError(
                f"decoder trains an extra decoder of a frozen tokenizer, but model.train is {self.model.train}: make it []."
            )
        if self.model.init_from is None:
            raise ValueError(
                "decoder trains an extra decoder, but model.init_from names no tokenizer: give its folder."
            )
        if self.codebook != CodebookConfig():
            raise ValueError("decoder trains with frozen codes, but there is a section codebook: leave it out.")
        if self.run.export_training_state:
            raise ValueError(
                "decoder trains with a frozen quantizer, whose files are exported as they are, but run.export_training_state "
                "is true: make it false, or export the tokenizer's own run with it."
            )
        if self.losses.get(ADVERSARIAL) and self.decoder.recipe.has_opponent:
            raise ValueError(
                f"losses.adversarial has a weight, but the recipe {self.decoder.recipe.name} has a fake network in place of a "
                "discriminator: leave the loss out, or use the recipe gan or distill."
            )
        return self

    @model_validator(mode="after")
    def _check_adversary(self) -> "TrainConfig":
        if not self.losses.get(ADVERSARIAL):
            return self
        if self.adversarial is None:
            raise ValueError(
                "losses.adversarial has a weight, but there is no adversarial section: add adversarial.discriminator."
            )
        if "decoder" not in self.model.train and self.decoder is None:
            raise ValueError(
                f"losses.adversarial has a weight, but model.train is {self.model.train}: add decoder, or leave the loss out."
            )
        pixel_losses = [*RECONSTRUCTION_LOSSES, *(name for each in self.criteria.values() for name in each.loss_names)]
        if self.adversarial.adaptive and not any(self.losses.get(name) for name in pixel_losses):
            raise ValueError(
                "adversarial.adaptive balances the adversarial loss against reconstruction, but losses has no such term: add "
                "one, such as l2, or set adaptive to false."
            )
        return self


def parse_train_config(values: Mapping[str, Any]) -> TrainConfig:
    """Build the config of a run from plain values; raise ConfigError for the first thing wrong."""
    return parse_config(TrainConfig, values)


def parse_written_config(values: Any, where: Path, advice: str) -> TrainConfig:
    """Build the config that a run wrote to `where`; raise ValueError, with `advice`, if another version of vistok did."""
    try:
        return parse_train_config(values)
    except ValueError as error:
        reason = str(error).rstrip(".")
        raise ValueError(f"{where} was written by another version of vistok ({reason}): {advice}.") from None
