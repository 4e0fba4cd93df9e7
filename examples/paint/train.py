"""Train a small Llama on packed sequences: a plain loop under accelerate, with Muon.

python examples/paint/train.py packed/train --held-out packed/held-out --out painter

The folders are those of pack-sequences --format npy --bos, with one document a row: a caption, then an image.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, TensorDataset
from transformers import LlamaConfig, LlamaForCausalLM

from vistok.sequences.loss_mask import IMAGE, TEXT, kinds
from vistok.sequences.vocabulary import Vocabulary
from vistok.tokenizer.devices import default_device, multiplies_bfloat16
from vistok.train.optimizer.model_groups import muon_groups
from vistok.train.optimizer.muon import Muon

NO_CAPTION = 0.1
"""Fraction of the rows that are shown without their caption, so that the model can be guided."""
NOISE = 0.05
"""Fraction of the codes that the model reads as random ones, as its own will be wrong at times."""
VALIDATIONS = 10


def read_rows(folder: Path, pad: int) -> TensorDataset:
    """Return the rows of all shards, int64 `b n`, with padding behind them."""
    rows: list[Tensor] = []
    if not (files := sorted(folder.glob("*.ids.npy"))):
        raise SystemExit(f"{folder} has no *.ids.npy: pack it with --format npy.")
    for file in files:
        begins = np.load(file.with_name(file.name.replace(".ids.", ".rows.")))
        rows += torch.from_numpy(np.load(file).astype(np.int64)).split(np.diff(begins).tolist())
    return TensorDataset(pad_sequence(rows, batch_first=True, padding_value=pad))


def drop_captions(ids: Tensor, vocabulary: Vocabulary, pad: int) -> Tensor:
    """Return rows `b n`, a few of them without the text between the first id and the image."""
    text = (kinds(vocabulary, ids) == TEXT) & (torch.rand(len(ids), 1, device=ids.device) < NO_CAPTION)
    text[:, 0] = False
    return ids.masked_fill(text, pad).gather(1, text.byte().argsort(dim=1, stable=True))


def with_noise(ids: Tensor, vocabulary: Vocabulary) -> Tensor:
    """Return rows `b n` with random codes in place of a few."""
    image = vocabulary["image"]
    noisy = (kinds(vocabulary, ids) == IMAGE) & (torch.rand(ids.shape, device=ids.device) < NOISE)
    return torch.where(noisy, torch.randint_like(ids, image.size) + image.offsets[0], ids)


def bits(model: torch.nn.Module, ids: Tensor, vocabulary: Vocabulary, read: Tensor | None = None) -> Tensor:
    """Return the bits that the model needs for the codes of the image in each row of `b n`, when it reads these or others."""
    targets = ids[:, 1:].masked_fill(kinds(vocabulary, ids[:, 1:]) != IMAGE, -100)
    logits = model(input_ids=(ids if read is None else read)[:, :-1]).logits.float()
    return cross_entropy(logits.mT, targets, reduction="none").sum(1) / math.log(2)


@torch.no_grad()
def held_out_bits(
    accelerator: Accelerator, model: torch.nn.Module, loader: DataLoader, vocabulary: Vocabulary
) -> float:
    """Return the mean bits of a held-out image, given its caption."""
    model.eval()
    each = torch.cat([accelerator.gather_for_metrics(bits(model, ids, vocabulary)) for (ids,) in loader])
    model.train()
    return each.mean().item()


def rate(step: int, steps: int) -> float:
    """Return the learning rate at a step, from 1, as a fraction of its peak: a warm-up, then half a cosine."""
    return min(1.0, step / max(1, min(50, steps // 10))) * (0.02 + 0.98 * (1 + math.cos(math.pi * step / steps)) / 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path)
    parser.add_argument("--held-out", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=64, help="of each process")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--lr", type=float, default=6e-3)
    arguments = parser.parse_args()

    device = default_device()
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="bf16" if multiplies_bfloat16(device) else "no")
    torch.manual_seed(0)
    vocabulary = Vocabulary.load(arguments.packed)
    if Vocabulary.load(arguments.held_out) != vocabulary:
        raise SystemExit(f"{arguments.held_out} has another vocabulary than {arguments.packed}: pack both alike.")
    pad = vocabulary["image"].structure["pad"]
    rows, held_out = (read_rows(folder, pad) for folder in (arguments.packed, arguments.held_out))
    if len(rows) < (each := arguments.batch_size * accelerator.num_processes):
        raise SystemExit(f"{arguments.packed} has {len(rows)} rows, but a step takes {each}: lower --batch-size.")
    length = rows.tensors[0].shape[1]
    config = LlamaConfig(
        vocab_size=vocabulary.size,
        hidden_size=arguments.width,
        intermediate_size=5 * arguments.width // 2,
        num_hidden_layers=arguments.layers,
        num_attention_heads=max(1, arguments.width // 64),
        max_position_embeddings=max(length, held_out.tensors[0].shape[1]),
        bos_token_id=None,
        eos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    accelerator.print(f"{len(rows):,} rows of up to {length} ids, {model.num_parameters() / 1e6:.1f} M parameters")
    optimizer = Muon(muon_groups(model, adamw=["lm_head"], weight_decay=0.1), lr=arguments.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step + 1, arguments.steps))
    loader = DataLoader(rows, arguments.batch_size, shuffle=True, drop_last=True)
    model, optimizer, loader, validation = accelerator.prepare(
        model, optimizer, loader, DataLoader(held_out, arguments.batch_size)
    )
    curve, batches, begun, seen = [], iter(loader), time.monotonic(), torch.zeros((), device=accelerator.device)
    looks = {round(arguments.steps * part / VALIDATIONS) for part in range(1, VALIDATIONS + 1)}
    for step in range(1, arguments.steps + 1):
        if (batch := next(batches, None)) is None:
            batches = iter(loader)
            batch = next(batches)
        ids = drop_captions(batch[0], vocabulary, pad)
        loss = bits(model, ids, vocabulary, with_noise(ids, vocabulary)).mean()
        accelerator.backward(loss / length)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        seen += loss.detach()
        if step in looks:
            held = held_out_bits(accelerator, model, validation, vocabulary)
            figures = {
                "step": step,
                "train": seen.item() / (step - (curve[-1]["step"] if curve else 0)),
                "held_out": held,
                "seconds": time.monotonic() - begun,
            }
            curve.append({name: round(value, 1) for name, value in figures.items()})
            accelerator.print("  ".join(f"{name} {value:,}" for name, value in curve[-1].items()), "bits an image")
            seen.zero_()
            if accelerator.is_main_process:
                accelerator.unwrap_model(model).save_pretrained(arguments.out)
                (arguments.out / "curve.json").write_text(json.dumps(curve, indent=1) + "\n")


if __name__ == "__main__":
    main()
