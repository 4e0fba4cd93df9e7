"""The commands, for tests of what is written about them."""

from pathlib import Path

import typer.main

from vistok.inference.commands import (
    detokenize_images,
    evaluate_tokenizer,
    import_tokenizer,
    pack_sequences,
    report_tokens,
    tokenize_images,
    unpack_sequences,
    verify_tokens,
)
from vistok.train.commands import export_tokenizer, finetune_tokenizer, train_tokenizer

ROOT = Path(__file__).parents[1]
APPS = {
    "tokenize-images": tokenize_images.app,
    "detokenize-images": detokenize_images.app,
    "verify-tokens": verify_tokens.app,
    "pack-sequences": pack_sequences.app,
    "unpack-sequences": unpack_sequences.app,
    "report-tokens": report_tokens.app,
    "evaluate-tokenizer": evaluate_tokenizer.app,
    "import-tokenizer": import_tokenizer.app,
    "train-tokenizer": train_tokenizer.app,
    "finetune-tokenizer": finetune_tokenizer.app,
    "export-tokenizer": export_tokenizer.app,
}


def options(name):
    """Return the options of a command, `--help` among them."""
    return {option for parameter in typer.main.get_command(APPS[name]).params for option in parameter.opts} | {"--help"}
