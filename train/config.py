"""The configuration of a run: strict YAML with `section.key=value` overrides."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import yaml
from annotated_types import Len
from pydantic import Field, SerializeAsAny, model_validator

from ..configs import find_config
from ..tokenizer.config import Config, choice, parse_config
from ..tokenizer.files import write_whole
from ..tokenizer.networks.architectures import Architecture
from ..tokenizer.preprocessing import PreprocessingConfig
from ..tokenizer.quantizers import QUANTIZERS, QuantizerConfig
from .codebook.revival import CodebookConfig
from .data.config import DataConfig
from .diagnostics.diagnostics import DiagnosticsConfig
from .losses.adversarial import AdversarialConfig
from .losses.criteria import CriterionConfig, parse_criteria
from .losses.terms import ADVERSARIAL, RECONSTRUCTION_LOSSES, LossWeights
from .optimizer.routing import OptimizerConfig
from .yaml_values import yaml_values

CONFIG_FILE = "config.yaml"
NUMBER = re.compile(r"[-+]?([0-9]+[.]?[0-9]*|[.][0-9]+)[eE][-+]?[0-9]+")
Part: TypeAlias = Literal["encoder", "quantizer", "decoder"]
Seed: TypeAlias = Annotated[int, Field(ge=0, lt=2**32)]  # numpy takes no other
PARTS: tuple[Part, ...] = ("encoder", "quantizer", "decoder")


class RunConfig(Config):
    """Where a run goes and how long it is."""

    out: Path
    """Run folder; with checkpoints in it, the run goes on from the newest."""
    steps: Annotated[int, Field(ge=1)]
    """Optimizer steps of the whole run."""
    seed: Seed = 0
    """Seed of the weights, the order of the images and their crops."""
    precision: Literal["float32", "bfloat16", "float16", "auto"] = "float32"
    """Arithmetic of the networks; losses and code search stay in float32. Auto is bfloat16 where the processor has it."""
    gradient_accumulation: Annotated[int, Field(ge=1)] = 1
    """Parts that each process cuts its share of a batch into, whose gradients are added up; more parts need less memory."""
    trackers: list[str] = ["tensorboard"]
    """Trackers of accelerate that get every scalar, such as tensorboard or wandb; metrics.jsonl is always written."""
    channels_last: bool = True
    """Whether activations lie channels-last in memory, which CPUs and tensor cores prefer."""
    log_every: Annotated[int, Field(ge=1)] = 50
    """Steps between lines of metrics.jsonl; usage is taken over the tokens of these steps."""
    save_every: Annotated[int, Field(ge=1)] = 1000
    """Steps between checkpoints."""
    keep_checkpoints: Annotated[int, Field(ge=1)] = 2
    """Newest checkpoints that are kept."""
    export_precision: Literal["float32", "float16"] = "float32"
    """Type that the exported weights are stored in; the tokenizer computes in float32 either way."""
    export_training_state: bool = False
    """Whether the export also holds what training its quantizer needs; without, it holds what encoding and decoding need."""
    validate_every: Annotated[int, Field(ge=1)] = 1000
    """Steps between validations, when data.val is given."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the moving average of the weights, which is what is validated and exported; 0 turns it off."""


class ModelConfig(Config):
    """The tokenizer that is trained."""

    architecture: Architecture
    """Encoder and decoder."""
    quantizer: Annotated[QuantizerConfig, choice(QUANTIZERS)]
    """Quantizer, its keys depending on its name."""
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    """Preprocessing that the exported tokenizer will use."""
    train: Annotated[list[Part], Len(1)] = list(PARTS)
    """Parts that learn: encoder, quantizer, decoder; the others stay as they are."""
    init_from: Path | None = None
    """Tokenizer folder whose weights the run starts from, where they fit; the rest starts fresh."""


class TrainConfig(Config):
    """A whole run."""

    run: RunConfig
    data: DataConfig
    model: ModelConfig
    losses: LossWeights
    optimizer: OptimizerConfig
    codebook: CodebookConfig = CodebookConfig()
    diagnostics: DiagnosticsConfig = DiagnosticsConfig()
    criteria: dict[str, SerializeAsAny[CriterionConfig]] = {}
    """Losses with a network of their own, such as perceptual; each is a section under its name."""
    adversarial: AdversarialConfig | None = None
    """Discriminator and its training, for the loss adversarial."""

    @model_validator(mode="before")
    @classmethod
    def _criteria_by_name(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and isinstance(values.get("criteria"), Mapping):
            return {**values, "criteria": parse_criteria(values["criteria"])}
        return values

    @model_validator(mode="after")
    def _sizes_fit_the_grid(self) -> "TrainConfig":
        side = self.model.architecture.downsample
        sizes = {"data.size": self.data.size, "model.preprocessing.size": self.model.preprocessing.size}
        for name, size in sizes.items():
            if size != "native" and size % side:
                near = max(1, round(size / side)) * side
                raise ValueError(f"{name} is {size}, but must be a multiple of the downsampling, {side}: try {near}.")
        return self

    @model_validator(mode="after")
    def _adversary_has_what_it_needs(self) -> "TrainConfig":
        if not self.losses.get(ADVERSARIAL):
            return self
        if self.adversarial is None:
            raise ValueError(
                "losses.adversarial has a weight, but there is no adversarial section: add adversarial.discriminator."
            )
        if "decoder" not in self.model.train:
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


def read_config(path: Path | str, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a YAML file, or a shipped one by its name, and apply overrides such as `optimizer.lr=1e-3`.

    Raises ValueError for the first thing wrong.
    """
    path = find_config(path)
    try:
        values = yaml_values(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not YAML ({error}): correct it.") from None
    if values is None:
        raise ValueError(
            f"{path} is empty, but a config has sections such as run, data and model: begin with a shipped one."
        )
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds a {type(values).__name__}, but a config is a mapping of sections.")
    for override in overrides:
        apply_override(values, override)
    return parse_train_config(values)


def parse_train_config(values: Mapping[str, Any]) -> TrainConfig:
    """Build the config of a run from plain values; raise ValueError for the first thing wrong."""
    return parse_config(TrainConfig, values)


def config_text(config: Config) -> str:
    """Return the resolved config as YAML, every default spelled out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def write_config(config: Config, path: Path) -> None:
    """Write the resolved config; raise OSError as `write_whole`."""
    write_whole(path, config_text(config).encode())


def apply_override(values: dict[str, Any], override: str) -> None:
    """Set one `section.key=value` in plain values; raise ValueError when it is not of that form."""
    key, separator, text = override.partition("=")
    if not separator or not all(part.strip() for part in key.split(".")):
        raise ValueError(f"Override {override!r} is not of the form section.key=value.")
    *sections, last = key.split(".")
    owner = values
    for section in sections:
        owner = owner.setdefault(section, {})
        if not isinstance(owner, dict):
            raise ValueError(f"Override {override!r} goes through {section!r}, which is a value and not a section.")
    owner[last] = _value(text)


def _value(text: str) -> Any:
    try:
        value = yaml_values(text)
    except ValueError as error:
        raise ValueError(f"The value {text!r} is not YAML ({error}): correct it.") from None
    if isinstance(value, str) and NUMBER.fullmatch(value):
        return float(value)  # YAML 1.1 reads 1e-3 as a string
    return value
