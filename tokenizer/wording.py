"""What messages share: counts, lists, values, and the name that the user meant."""

import difflib
from collections.abc import Sequence
from typing import Any

MEANT: dict[str, Sequence[str]] = {
    "steps": ("epochs", "iterations", "iters", "max_iters", "max_steps", "num_steps", "total_steps", "train_steps"),
    "seed": ("manual_seed", "random_seed", "random_state"),
    "out": ("logdir", "out_dir", "output", "output_dir", "run_dir", "save_dir"),
    "precision": ("amp", "bf16", "dtype", "fp16", "mixed_precision"),
    "gradient_accumulation": ("accumulate_grad_batches", "grad_accum", "micro_batches", "gradient_accumulation_steps"),
    "log_every": ("log_every_n_steps", "log_interval", "logging_steps"),
    "save_every": ("checkpoint_every", "checkpoint_interval", "ckpt_every", "save_interval", "save_steps"),
    "validate_every": ("eval_every", "eval_steps", "val_check_interval", "val_interval"),
    "ema_decay": ("average", "ema", "ema_rate", "weight_average"),
    "trackers": ("logger", "loggers", "log_with", "report_to"),
    "init_from": (
        "checkpoint",
        "ckpt_path",
        "finetune_from",
        "start_from",
        "pretrained",
        "resume_from",
        "weights_from",
    ),
    "train": ("data_dir", "data_path", "dataset", "images", "path", "train_data", "train_dir"),
    "val": ("eval", "test", "val_data", "val_dir", "valid", "validation"),
    "crop": ("crop_size", "image_size", "img_size", "resolution", "size"),
    "size": ("crop_size", "image_size", "img_size", "resolution"),
    "batch_size": ("batch", "batchsize", "bs", "global_batch_size", "train_batch_size"),
    "workers": ("n_workers", "nworkers", "num_workers"),
    "flip": ("hflip", "horizontal_flip", "random_flip"),
    "lr": ("base_lr", "learning_rate", "learningrate", "max_lr", "rate"),
    "warmup": ("num_warmup_steps", "warmup_iters", "warmup_steps"),
    "weight_decay": ("decay", "l2_reg", "wd"),
    "betas": ("adam_betas",),
    "clip_norm": ("clip_grad", "grad_clip", "gradient_clip_val", "max_grad_norm"),
    "codebook_size": ("codes", "k", "n_e", "n_embed", "num_codes", "num_embeddings", "vocab_size"),
    "dim": ("code_dim", "codebook_dim", "d", "e_dim", "embed_dim", "embedding_dim"),
    "optimizer": ("optim",),
    "losses": ("loss", "loss_weights"),
    "l2": ("mse",),
    "l1": ("mae",),
    "perceptual": ("lpips",),
    "adversarial": ("gan",),
    "discriminator": ("disc",),
}
"""Names of our keys in other packages."""
LONGEST_NAME = 120
SURE, LIKELY = 0.75, 0.5
"""Similarities (difflib) above which a name is suggested, before and after its prefixes are tried."""


def pluralize(count: int, noun: str) -> str:
    """Return a count with its noun: "1 image", "2 images"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def list_first(items: Sequence[str], shown: int) -> str:
    """Join the first items with commas and count the others: "a, b and 3 more"."""
    others = len(items) - shown
    return ", ".join(items[:shown]) + (f" and {others} more" if others > 0 else "")


def first_lines(lines: Sequence[str], shown: int, where: str, total: int | None = None) -> list[str]:
    """Return the first lines and, when there are more, one that counts them and says where they are.

    `total` is given where `lines` are not all.
    """
    first = lines[:shown]
    others = (len(lines) if total is None else total) - len(first)
    return [*first, *([f"... and {others} more, see {where}"] if others > 0 else [])]


def shown(value: Any) -> str:
    """Return a value as shown in a sentence, in at most 60 characters."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a huge number"
    return text if len(text) <= 60 else f"{text[:57]}..."


def shortened(name: str) -> str:
    """Return a name of a stranger's file as shown in a sentence: in at most 120 characters, the middle left out."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME // 2]}...{name[3 - LONGEST_NAME // 2 :]}"


def unknown_choice(what: str, path: str, got: str, known: Sequence[str], elsewhere: Sequence[str] = ()) -> str:
    """Say that `got` is none of `known`, and suggest the nearest of them or of the dotted paths `elsewhere`."""
    near = nearest(got, known, elsewhere)
    if near is not None and near not in known:
        return f"{path} is not a known {what}: did you mean {near!r}?"
    return f"{path} is not a known {what}: {did_you_mean(near, 'choose from ' + ', '.join(sorted(known)))}."


def did_you_mean(near: str | None, otherwise: str) -> str:
    """Return how a message about an unknown name ends: with a suggestion, if there is one, and with what else to do."""
    return f"did you mean {near!r}? Otherwise {otherwise}" if near else otherwise


def nearest(got: str, known: Sequence[str], elsewhere: Sequence[str] = ()) -> str | None:
    """Return the nearest to `got` of `known` or of the dotted paths `elsewhere`; None when nothing is near."""
    plain = got.lower().replace("-", "_")
    names = [plain, *(ours for ours, theirs in MEANT.items() if plain in theirs)]
    ends = {path.rpartition(".")[2]: path for path in reversed(elsewhere)}
    choices = [
        *(name for name in names if name in known),
        *(ends[name] for name in names if name in ends),
        *difflib.get_close_matches(plain, known, n=1, cutoff=SURE),
        *(ends[name] for name in difflib.get_close_matches(plain, ends, n=1, cutoff=SURE)),
        *(name for name in known if name.startswith(plain) and len(plain) > 2),
        *difflib.get_close_matches(plain, known, n=1, cutoff=LIKELY),
    ]
    return next(iter(choices), None)
