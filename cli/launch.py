"""Entry points of the console scripts. Ctrl-C is handled before anything slow is imported."""

import importlib

from .interruption import install_for_process


def tokenize_images() -> None:
    """Run tokenize-images."""
    _run("tokenize-images", "..inference.commands.tokenize_images")


def detokenize_images() -> None:
    """Run detokenize-images."""
    _run("detokenize-images", "..inference.commands.detokenize_images")


def evaluate_tokenizer() -> None:
    """Run evaluate-tokenizer."""
    _run("evaluate-tokenizer", "..inference.commands.evaluate_tokenizer")


def import_tokenizer() -> None:
    """Run import-tokenizer."""
    _run("import-tokenizer", "..inference.commands.import_tokenizer")


def train_tokenizer() -> None:
    """Run train-tokenizer."""
    _run("train-tokenizer", "..train.commands.train_tokenizer")


def finetune_tokenizer() -> None:
    """Run finetune-tokenizer."""
    _run("finetune-tokenizer", "..train.commands.finetune_tokenizer")


def export_tokenizer() -> None:
    """Run export-tokenizer."""
    _run("export-tokenizer", "..train.commands.export_tokenizer")


def _run(command: str, module: str) -> None:
    install_for_process(command)
    importlib.import_module(module, __package__).main()
