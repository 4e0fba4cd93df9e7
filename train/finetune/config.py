"""The configuration of a fine-tuning: what changes in a tokenizer, and how long each stage lasts."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ...tokenizer.config import Config, choice
from ...tokenizer.quantizers import QUANTIZERS, QuantizerConfig
from ..config import PARTS, Part, Seed
from ..data.config import ReadingConfig
from ..losses.terms import LossWeights
from .fit_quantizer import FitConfig

CONFIG_FILE = "finetune.yaml"


class StageConfig(Config):
    """One training stage."""

    steps: Annotated[int, Field(ge=0)]
    """Optimizer steps; 0 leaves the stage out."""
    lr: Annotated[float, Field(gt=0)]
    """Peak learning rate of Muon and AdamW."""


class ImagesConfig(ReadingConfig):
    """The images, and how they are cut into batches."""

    train: Annotated[list[str], Field(min_length=1)]
    """Folders, image files, .tar shards (brace ranges) or .txt lists of these."""
    val: list[str] = []
    """Images to judge on, in the same forms; none holds out a share of the others."""
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share that is held out when val is empty."""
    crop: Annotated[int, Field(ge=8)] = 128
    """Side of the training crops in pixels, a multiple of the tokenizer's downsampling."""
    batch_size: Annotated[int, Field(ge=1)] = 8
    """Crops of a step over all processes."""
    workers: Annotated[int, Field(ge=0)] = 1
    """Processes that read images."""


class FinetuneConfig(Config):
    """A whole fine-tuning."""

    model: str
    """Tokenizer to start from: built-in name, folder, or hf://owner/repo."""
    out: Path
    """Folder of the fine-tuning; the same call goes on where it left off."""
    data: ImagesConfig
    quantizer: Annotated[QuantizerConfig, choice(QUANTIZERS)] | None = None
    """Quantizer that takes the place of the old one; none keeps it."""
    grow_to: Annotated[int, Field(ge=2)] | None = None
    """Codes that the codebook is grown to, the old ones keeping their numbers; none leaves it."""
    train: Annotated[list[Part], Field(min_length=1)] = list(PARTS)
    """Parts that learn in the last stage: encoder, quantizer, decoder."""
    fit: FitConfig = FitConfig(steps=1500)
    """First stage, when the quantizer changes: it is fitted to latents, encoder and decoder resting."""
    decoder: StageConfig = StageConfig(steps=600, lr=1e-3)
    """Second stage, when the quantizer changes: the decoder learns the new codes."""
    joint: StageConfig = StageConfig(steps=0, lr=3e-4)
    """Last stage: the parts of train learn together."""
    losses: LossWeights = {"log_l2": 1.0}
    """Reconstruction losses of the training stages; those of the quantizer are added with their usual weights."""
    latent_vectors: Annotated[int, Field(ge=1)] = 400_000
    """Latent vectors that are collected for the first stage, at most."""
    precision: Literal["float32", "bfloat16", "float16", "auto"] = "auto"
    """Arithmetic of the networks in training. Auto is bfloat16 where the processor has it."""
    seed: Seed = 0
    """Seed of everything that is drawn."""
    save_every: Annotated[int, Field(ge=1)] = 200
    """Steps between checkpoints of the training stages."""

    @model_validator(mode="after")
    def _something_is_done(self) -> "FinetuneConfig":
        if self.quantizer is not None and self.grow_to is not None:
            raise ValueError("quantizer and grow_to are both given: swap the quantizer, or grow its codebook.")
        if not self.changes_quantizer and self.joint.steps == 0:
            raise ValueError("joint.steps is 0 and the quantizer stays, so nothing would change: give --steps above 0.")
        if self.changes_quantizer and self.joint.steps == 0 and self.train != list(PARTS):
            raise ValueError(
                f"train is {self.train}, which says what learns in the last stage, but after a swap that has no steps: give "
                "--steps too, or leave --only out."
            )
        return self

    @property
    def changes_quantizer(self) -> bool:
        """Whether the first two stages are done."""
        return self.quantizer is not None or self.grow_to is not None
