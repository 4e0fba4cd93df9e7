"""The configuration of a fine-tuning: what changes in a tokenizer, and how long each stage takes."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ...tokenizer.config import Choice, Config
from ...tokenizer.quantizers import QUANTIZERS, QuantizerConfig
from ..config import PARTS, Part
from ..data.config import ReadingConfig
from ..losses.terms import NOTHING_WEIGHED, RECONSTRUCTION_LOSSES, LossWeights
from ..run_config import Seed
from .decoder_config import GenerativeConfig


class FitConfig(Config):
    """How a quantizer is fitted to latents."""

    steps: Annotated[int, Field(ge=0)] = 600
    """Optimizer steps; the learning rate falls to 0 along half a cosine."""
    batch_size: Annotated[int, Field(ge=1)] = 8192
    """Latent vectors per step."""
    lr: Annotated[float, Field(gt=0)] = 5e-3
    """Initial learning rate of Adam."""
    projection_optimizer: Literal["auto", "adam", "muon"] = "auto"
    """Optimizer of a codebook's projection matrices. auto is Muon for fvq, which diverges with Adam, and Adam for simvq."""
    muon_rate: Annotated[float, Field(gt=0)] = 1.0
    """Muon's learning rate as a multiple of Adam's; at 1, both make equally large updates when gradients are noise."""
    codebook_rows: Literal["dense", "lazy"] = "dense"
    """Codebook rows that Adam updates in each step: all of them, or, with lazy, only those with a gradient."""


class StageConfig(Config):
    """One training stage."""

    steps: Annotated[int, Field(ge=0)]
    """Optimizer steps; 0 skips the stage."""
    lr: Annotated[float, Field(gt=0)]
    """Peak learning rate of Muon and AdamW."""


class ImagesConfig(ReadingConfig):
    """The images, and how they are cut into batches."""

    train: Annotated[list[str], Field(min_length=1)]
    """Folders, image files, .tar shards (with brace ranges), or .txt lists of these."""
    val: list[str] = []
    """Images to evaluate on, given in the same way; if empty, a fraction of the training images is held out."""
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Fraction of the images to hold out if val is empty."""
    crop: Annotated[int, Field(ge=8)] = 128
    """Side of the training crops in pixels, rounded down to a multiple of the tokenizer's downsampling."""
    batch_size: Annotated[int, Field(ge=1)] = 8
    """Crops per step."""
    workers: Annotated[int, Field(ge=0)] = 1
    """Processes that read images."""


class FinetuneConfig(Config):
    """A whole fine-tuning."""

    model: str
    """Tokenizer to start from: built-in name, folder, or hf://owner/repo."""
    out: Path
    """Output folder; the same call resumes where it stopped."""
    data: ImagesConfig
    size: Annotated[int, Field(ge=8)] | None = None
    """Side of the squares that the tokenizer is adapted to, and resizes images to from then on; null keeps its own.

    Tokens of another size are others, whatever is trained.
    """
    quantizer: Annotated[QuantizerConfig, Choice(QUANTIZERS)] | None = None
    """New quantizer; null keeps the old one."""
    grow_to: Annotated[int, Field(ge=2)] | None = None
    """New size of the codebook, which keeps its codes and their indices; null keeps the size."""
    train: Annotated[list[Part], Field(min_length=1)] = list(PARTS)
    """Parts to train in the last stage: encoder, quantizer, decoder."""
    fit: FitConfig = FitConfig(steps=1500)
    """First stage, for a new quantizer: fit it to latents, with encoder and decoder frozen."""
    decoder: StageConfig = StageConfig(steps=600, lr=1e-3)
    """Second stage, for a new quantizer: train the decoder on the new codes."""
    joint: StageConfig = StageConfig(steps=0, lr=3e-4)
    """Last stage: train the parts listed in train together."""
    losses: LossWeights = {"log_l2": 1.0}
    """Weights of the reconstruction losses in the training stages; the quantizer's losses get their usual weights."""
    generative: GenerativeConfig | None = None
    """Extra decoder to train for the tokenizer, which stays as it is: no other stage is run; null trains none."""
    latent_vectors: Annotated[int, Field(ge=1)] = 400_000
    """Maximum number of latent vectors to collect for the first stage."""
    precision: Literal["float32", "bfloat16", "float16", "auto"] = "auto"
    """Precision of the networks in training. auto is bfloat16 where the device supports it."""
    seed: Seed = 0
    """Seed of all random numbers."""
    save_every: Annotated[int, Field(ge=1)] = 200
    """Steps between checkpoints."""

    @model_validator(mode="after")
    def _check(self) -> "FinetuneConfig":
        unknown = sorted(set(self.losses) - set(RECONSTRUCTION_LOSSES))
        if unknown:
            raise ValueError(
                f"losses.{unknown[0]} has a weight, but the stages have only reconstruction losses: choose from "
                f"{', '.join(RECONSTRUCTION_LOSSES)}."
            )
        if not any(self.losses.values()):
            raise ValueError(NOTHING_WEIGHED)
        if self.quantizer is not None and self.grow_to is not None:
            raise ValueError("quantizer and grow_to are both given: swap the quantizer, or grow its codebook.")
        if self.generative is not None:
            self._check_generative()
            return self
        if not self.changes_quantizer and self.joint.steps == 0:
            raise ValueError("joint.steps is 0 and the quantizer stays, so nothing would change: give --steps above 0.")
        if self.changes_quantizer and self.joint.steps == 0 and self.train != list(PARTS):
            raise ValueError(
                f"train is {self.train}, the parts to train in the last stage, but after a swap that stage has no steps: "
                "give --steps too, or leave --only out."
            )
        return self

    def _check_generative(self) -> None:
        changed = {"--quantizer": self.quantizer, "--grow-to": self.grow_to, "--size": self.size}
        given = [option for option, value in changed.items() if value is not None]
        given += ["--only"] if self.train != list(PARTS) else []
        if given:
            raise ValueError(
                f"--decoder adds a decoder to a tokenizer that stays as it is, but {given[0]} is given too: do one after the "
                "other, in two folders."
            )

    @property
    def changes_quantizer(self) -> bool:
        return self.quantizer is not None or self.grow_to is not None
