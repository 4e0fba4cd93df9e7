"""Entry points of the console scripts. Ctrl-C is handled before anything slow is imported."""

import importlib
from functools import partial

from .interruption import install_for_process


def _run(command: str, room: str) -> None:
    install_for_process(command)
    app = importlib.import_module(f"..{room}.commands.{command.replace('-', '_')}", __package__).app
    from .usage_errors import run_app

    run_app(app, command)


def tokenize_images() -> None:
    """Run tokenize-images, whose threads encode on a CPU."""
    from ..tokenizer.system import share_one_heap

    share_one_heap()
    _run("tokenize-images", "inference")


detokenize_images = partial(_run, "detokenize-images", "inference")
verify_tokens = partial(_run, "verify-tokens", "inference")
pack_sequences = partial(_run, "pack-sequences", "inference")
unpack_sequences = partial(_run, "unpack-sequences", "inference")
report_tokens = partial(_run, "report-tokens", "inference")
evaluate_tokenizer = partial(_run, "evaluate-tokenizer", "inference")
import_tokenizer = partial(_run, "import-tokenizer", "inference")
train_tokenizer = partial(_run, "train-tokenizer", "train")
finetune_tokenizer = partial(_run, "finetune-tokenizer", "train")
export_tokenizer = partial(_run, "export-tokenizer", "train")
