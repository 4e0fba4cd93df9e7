"""evaluate-tokenizer: how good a tokenizer is on one's own pictures."""

import json
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ...terminal import one_sentence
from ...tokenizer.files import write_whole
from ..api import Tokenizer, load
from ..evaluation import Evaluation, evaluate
from ..pipeline import read_picture, without_failures
from ..plan import plan_shards
from ..shards import Failure

app = typer.Typer(add_completion=False, rich_markup_mode=None)
console = Console(highlight=False)

METRICS_FILE = "metrics.json"
ROWS = {
    "psnr": ("PSNR", "{:.2f} dB"),
    "ssim": ("SSIM", "{:.4f}"),
    "usage": ("codebook usage", "{:.1%}"),
    "perplexity": ("perplexity", "{:,.0f}"),
    "distortion": ("distortion", "{:.6f}"),
    "tokens": ("tokens", "{:,}"),
    "bits_per_pixel": ("bits per pixel", "{:.4f}"),
    "pictures_per_second": ("pictures a second", "{:.1f}"),
}


@app.command()
def evaluate_tokenizer(
    model: Annotated[str, typer.Argument(help="Built-in name, tokenizer folder, or hf://owner/repo.")],
    data: Annotated[
        list[str], typer.Argument(metavar="DATA...", help="Picture files, folders, .tar shards or .txt lists of these.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for metrics.json.")],
    device: Annotated[str | None, typer.Option(help="cpu or cuda.", show_default="cuda if there is one")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Encode and decode pictures, and measure quality, codebook use and speed, in float32."""
    with one_sentence("evaluate-tokenizer", debug):
        tokenizer = load(model, device or ("cuda" if torch.cuda.is_available() else "cpu"))
        samples = [sample for shard in plan_shards(data, shard_size=1000).shards for sample in shard.samples()]
        failures: list[Failure] = []
        shown = track(samples, description="", console=Console(stderr=True), transient=True)
        read = (read_picture(sample, tokenizer.config.preprocessing, tokenizer.downsample) for sample in shown)
        evaluation = evaluate(tokenizer, without_failures(read, failures))
        _write(out / METRICS_FILE, tokenizer, data, evaluation, failures)
        _show(model, tokenizer, evaluation, failures)
        console.print(f"in {out / METRICS_FILE}", markup=False, soft_wrap=True)


def main() -> None:
    """Run the command."""
    app()


def _write(path: Path, tokenizer: Tokenizer, data: list[str], evaluation: Evaluation, failures: list[Failure]) -> None:
    facts = {
        "fingerprint": tokenizer.fingerprint,
        "preprocessing": tokenizer.config.preprocessing.model_dump(),
        "data": data,
        **evaluation._asdict(),
        "failures": [failure.model_dump() for failure in failures],
    }
    write_whole(path, (json.dumps(facts, indent=2) + "\n").encode())


def _show(model: str, tokenizer: Tokenizer, evaluation: Evaluation, failures: list[Failure]) -> None:
    table = Table(f"{model} ({tokenizer.fingerprint[:12]})", f"{evaluation.pictures} pictures")
    for name, (label, form) in ROWS.items():
        table.add_row(label, form.format(getattr(evaluation, name)))
    if evaluation.tokens < tokenizer.vocab_size:
        reachable = evaluation.tokens / tokenizer.vocab_size
        table.caption = f"{evaluation.tokens:,} tokens can use {reachable:.1%} of the codes at most"
    console.print(table)
    for failure in failures:
        console.print(f"  failed: {failure.source}: {failure.reason}", markup=False, soft_wrap=True)
