"""The words of config errors: what a value must be, and which key the user meant."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

WANTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "string_unicode": "text",
    "path_type": "a path",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a section of keys and values",
    "mapping_type": "a section of keys and values",
    "model_type": "a section of keys and values",
    "model_attributes_type": "a section of keys and values",
    "none_required": "empty",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "too_short": "a list of {min_length} or more",
    "too_long": "a list of {max_length} or fewer",
}
"""What a value must be, by pydantic's types of errors; braces are filled from the context of an error."""

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
SURE, LIKELY = 0.75, 0.5
"""Similarities (difflib) above which a name is suggested, before and after its prefixes are tried."""


def wanted(kind: str, context: Mapping[str, Any], message: str) -> str:
    """Return in words what a value must be, for an error of pydantic."""
    if kind in WANTED:
        return WANTED[kind].format_map({name: _plain(value) for name, value in context.items()})
    return message[:1].lower() + message[1:].removeprefix("nput should be ").removeprefix("valid ")


def shown(value: Any) -> str:
    """Return a value as shown in a sentence, in at most 60 characters."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a huge number"
    return text if len(text) <= 60 else f"{text[:57]}..."


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


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
