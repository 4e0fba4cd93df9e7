"""Train a small Llama on packed sequences: a plain loop under accelerate, with Muon.

python examples/paint/train.py packed/train --held-out packed/held-out --steps 1500 --out painter

The folders are those of pack-sequences --format npy, with one document a row: a caption and an image.
"""

import argparse
import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from transformers import LlamaConfig, LlamaForCausalLM

from vistok.sequences.loss_mask import IMAGE, TEXT, kinds
from vistok.sequences.vocabulary import Vocabulary
from vistok.tokenizer.devices import default_device, multiplies_bfloat16
from vistok.train.optimizer.model_groups import muon_groups
from vistok.train.optimizer.muon import Muon

NO_CAPTION = 0.1
"""Fraction of the rows that learn to paint without a caption, for guidance."""
VALIDATIONS = 10


def read_rows(folder: Path, pad: int) -> TensorDataset:
    """Return the rows of all shards as ids `b n`, with padding at their ends."""
    rows = []
    for shard in sorted(folder.glob("*.ids.npy")):
        ids = torch.from_numpy(np.load(shard).astype(np.int64))
        begins = np.load(shard.with_name(shard.name.replace(".ids.", ".rows.")))
        rows += ids.split(np.diff(begins).tolist())
    return TensorDataset(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad))


def without_captions(ids, vocabulary: Vocabulary, pad: int):
    """Return ids `b n` with padding in place of the caption in a few rows."""
    dropped = torch.rand(len(ids), 1, device=ids.device) < NO_CAPTION
    return ids.masked_fill(dropped & (kinds(vocabulary, ids) == TEXT), pad)


def image_loss(model, ids, vocabulary: Vocabulary):
    """Return the nats of all codes of the images in rows `b n`, summed."""
    logits = model(input_ids=ids[:, :-1]).logits.float()
    targets = ids[:, 1:].masked_fill(kinds(vocabulary, ids[:, 1:]) != IMAGE, -100)
    return cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")


@torch.no_grad()
def bits_per_image(accelerator: Accelerator, model, loader, vocabulary: Vocabulary) -> float:
    """Return the bits that the model needs for a held-out image, given its caption."""
    model.eval()
    nats = [accelerator.gather_for_metrics(image_loss(model, ids, vocabulary).repeat(len(ids)) / len(ids)) for (ids,) in loader]
    model.train()
    return torch.cat(nats).mean().item() / math.log(2)


def rate(step: int, steps: int) -> float:
    """Return the learning rate as a fraction of its peak: a short warm-up, then half a cosine."""
    return min(1.0, step / 50) * (0.02 + 0.98 * (1 + math.cos(math.pi * step / steps)) / 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path)
    parser.add_argument("--held-out", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    precision = "bf16" if multiplies_bfloat16(default_device()) else "no"
    accelerator = Accelerator(mixed_precision=precision)
    torch.manual_seed(arguments.seed)
    vocabulary = Vocabulary.load(arguments.packed)
    pad = vocabulary["image"].structure["pad"]
    rows, held_out = (read_rows(folder, pad) for folder in (arguments.packed, arguments.held_out))
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary.size,
            hidden_size=arguments.width,
            intermediate_size=arguments.width * 8 // 3 // 64 * 64,
            num_hidden_layers=arguments.layers,
            num_attention_heads=max(1, arguments.width // 64),
            max_position_embeddings=rows[0][0].numel(),
            attention_dropout=arguments.dropout,
            bos_token_id=None,
            eos_token_id=None,
            use_cache=False,
        )
    )
    optimizer = Muon(muon_groups(model, adamw=["lm_head"], weight_decay=0.1), lr=arguments.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step + 1, arguments.steps))
    loader = DataLoader(rows, arguments.batch_size, shuffle=True, drop_last=True)
    validation = DataLoader(held_out, arguments.batch_size)
    model, optimizer, loader, validation = accelerator.prepare(model, optimizer, loader, validation)
    size = sum(parameter.numel() for parameter in model.parameters())
    accelerator.print(f"{len(rows):,} rows of {rows[0][0].numel()} ids, {size / 1e6:.1f} M parameters, {accelerator.device}")
    curve, started, batches = [], time.monotonic(), iter(())
    for step in range(1, arguments.steps + 1):
        if (batch := next(batches, None)) is None:
            batches = iter(loader)
            batch = next(batches)
        ids = without_captions(batch[0], vocabulary, pad)
        loss = image_loss(model, ids, vocabulary) / ids.numel()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % max(1, arguments.steps // VALIDATIONS) == 0 or step == arguments.steps:
            curve.append(
                {
                    "step": step,
                    "seconds": round(time.monotonic() - started, 1),
                    "train_bits": ...,
                    "held_out_bits": bits_per_image(accelerator, model, validation, vocabulary),
                }
            )
            accelerator.print(curve[-1])
