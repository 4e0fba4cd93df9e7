"""From a run to a tokenizer folder: the one thing that training hands to inference, on disk."""

from pathlib import Path

import torch
from torch import nn

from ..tokenizer.model import VisualTokenizer
from ..tokenizer.weights import save_tokenizer
from .config import TrainConfig

EXPORT = "export"
"""Folder of the tokenizer in a run folder."""


def export_tokenizer(folder: Path, model: nn.Module, config: TrainConfig) -> None:
    """Write `model` as a tokenizer folder with a card that says how it was trained."""
    assert isinstance(model, VisualTokenizer)
    dtype = getattr(torch, config.run.export_precision)
    save_tokenizer(
        folder, model, config.model.architecture, config.model.preprocessing, _card(config), dtype, config.run.fold
    )


def _card(config: TrainConfig) -> str:
    run, data = config.run, config.data
    rate = config.optimizer.at_batch_size(data.batch_size).lr
    sources = "\n".join(f"- {source.where}, share {source.weight:g}" for source in data.train)
    return f"""# {run.out.resolve().name}

A visual tokenizer: {config.model.quantizer.name} quantizer, one token for {config.model.architecture.downsample} x \
{config.model.architecture.downsample} pixels.

Trained for {run.steps} steps on batches of {data.batch_size} crops of {data.size} x {data.size} pixels from

{sources}

with {config.optimizer.name} at a peak learning rate of {rate:g}; losses {config.losses}.
"""
