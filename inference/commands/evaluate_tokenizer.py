"""evaluate-tokenizer: how good a tokenizer is on one's own pictures."""

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ...terminal import check_output_folder, counted, one_sentence
from ..api import load
from ..evaluation import evaluate
from ..evaluation_report import Subject, rows, write_metrics, write_page
from ..judges import gather_judges
from ..plan import plan_shards
from ..reading import readable
from ..shards import Failure

app = typer.Typer(add_completion=False, rich_markup_mode=None)
console = Console(highlight=False)


@app.command()
def evaluate_tokenizer(
    model: Annotated[str, typer.Argument(help="Built-in name, tokenizer folder, or hf://owner/repo.")],
    data: Annotated[
        list[str], typer.Argument(metavar="DATA...", help="Picture files, folders, .tar shards or .txt lists of these.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for metrics.json and report.html.")],
    frechet: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=FILE]",
            help="Also measure the Frechet distance over this timm model, its weights from FILE or timm's hub.",
            show_default=False,
        ),
    ] = None,
    lpips_weights: Annotated[
        Path | None,
        typer.Option(
            help="File of torchvision's vgg16 weights for LPIPS.", show_default="torch's cache or the network"
        ),
    ] = None,
    inception_weights: Annotated[
        Path | None,
        typer.Option(
            help="File of torch-fidelity's Inception weights for rFID.", show_default="torch's cache or the network"
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.", show_default="cuda if there is one")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Encode and decode pictures, and measure quality, codebook use and speed, in float32."""
    with one_sentence("evaluate-tokenizer", debug):
        check_output_folder(out)
        tokenizer = load(model, device or ("cuda" if torch.cuda.is_available() else "cpu"))
        samples = [sample for shard in plan_shards(data, 1000, out).shards for sample in shard.samples()]
        panel = gather_judges(frechet or [], lpips_weights, inception_weights, tokenizer.device)
        failures: list[Failure] = []
        shown = track(samples, description="", console=Console(stderr=True), transient=True)
        read = readable(shown, tokenizer.config.preprocessing, tokenizer.downsample, failures)
        evaluation = evaluate(tokenizer, read, panel.judges)
        subject = Subject(model, tokenizer, data, evaluation, failures, panel.not_measured | evaluation.not_measured)
        metrics, page = write_metrics(out, subject), write_page(out, subject)
        _show(subject)
        console.print(f"in {metrics} and {page}", markup=False, soft_wrap=True)


def main() -> None:
    """Run the command."""
    app()


def _show(subject: Subject) -> None:
    quality, codes = subject.evaluation.quality, subject.tokenizer.vocab_size
    table = Table(f"{subject.model} ({subject.tokenizer.fingerprint[:12]})", counted(quality.pictures, "picture"))
    for label, value in rows(subject.evaluation).items():
        table.add_row(label, value)
    if quality.tokens < codes:
        table.caption = f"{quality.tokens:,} tokens can use {quality.tokens / codes:.1%} of the codes at most"
    console.print(table)
    for name, reason in subject.not_measured.items():
        console.print(f"  {name} not measured: {reason}", markup=False, soft_wrap=True)
    for failure in subject.failures:
        console.print(f"  failed: {failure.source}: {failure.reason}", markup=False, soft_wrap=True)
