"""The section `run` of a run's config."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from ..tokenizer.config import Config
from .speed import MemoryFormat

Seed: TypeAlias = Annotated[int, Field(ge=0, lt=2**32)]  # the range of numpy


class RunConfig(Config):
    """Where a run writes, how long it is, and what it computes in."""

    out: Path
    """Run folder; if it has checkpoints, the run resumes from the newest."""
    steps: Annotated[int, Field(ge=1)]
    """Optimizer steps of the whole run."""
    seed: Seed = 0
    """Seed of the weights, of the order of the images and of their crops."""
    precision: Literal["float32", "bfloat16", "float16", "auto"] = "float32"
    """Precision of the networks; losses and code search stay in float32. Auto is bfloat16 where the hardware multiplies it."""
    gradient_accumulation: Annotated[int, Field(ge=1)] = 1
    """Micro-batches that each process splits its part of a batch into; more of them need less memory."""
    trackers: list[str] = ["tensorboard"]
    """Trackers of accelerate that get every scalar, such as tensorboard or wandb; metrics.jsonl is always written."""
    memory_format: MemoryFormat = "auto"
    """Order of channels and pixels in memory: contiguous, channels_last, or auto, which is channels_last on CPUs alone."""
    compile: bool = False
    """Whether to compile encoder, decoder, discriminator and criteria, which takes a minute or two at the start."""
    activation_checkpointing: bool = False
    """Whether the backward pass computes each block of the networks again, for less memory and about a third more time."""
    max_skipped_steps: Annotated[int, Field(ge=0)] = 10
    """Steps in a row that may be skipped because a loss or a gradient is not finite, before the run ends as diverged; at most a
    tenth of run.steps. A skipped step changes nothing, and the log reports it; 0 ends the run at the first."""
    log_every: Annotated[int, Field(ge=1)] = 50
    """Steps between lines of metrics.jsonl; a line has the means and the codebook usage of these steps."""
    save_every: Annotated[int, Field(ge=1)] = 1000
    """Steps between checkpoints."""
    keep_checkpoints: Annotated[int, Field(ge=1)] = 2
    """Number of newest checkpoints to keep."""
    export_precision: Literal["float32", "float16"] = "float32"
    """Type of the exported weights on disk; the tokenizer computes in float32 either way."""
    export_training_state: bool = False
    """Whether the export includes what only training its quantizer needs, beside what encoding and decoding need; a run of an
    extra decoder, which leaves the quantizer as it is, refuses it."""
    validate_every: Annotated[int, Field(ge=1)] = 1000
    """Steps between validations, if data.val is set."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the EMA of the weights, which is validated and exported; 0 turns it off."""
