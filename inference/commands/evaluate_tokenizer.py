"""evaluate-tokenizer: how good a tokenizer is on one's own images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...cli.options import DebugOption, JsonOption, QuietOption, VersionOption, check_output_folder
from ...cli.printing import print_json, say
from ...cli.progress import track
from ...cli.user_errors import WORK_FAILED, report_errors
from ...tokenizer.wording import pluralize

if TYPE_CHECKING:
    from ..evaluate.report import Subject

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def evaluate_tokenizer(
    model: Annotated[str, typer.Argument(help="Built-in name, tokenizer folder, or hf://owner/repo.")],
    data: Annotated[
        list[str], typer.Argument(metavar="DATA", help="Image files, folders, .tar shards or .txt lists of these.")
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
    device: Annotated[str, typer.Option(help="auto (cuda if there is one), cpu or cuda.")] = "auto",
    quiet: QuietOption = False,
    as_json: JsonOption = False,
    version: VersionOption = False,
    debug: DebugOption = False,
) -> None:
    """Encode and decode images, and measure quality, codebook use and speed, in float32.

    What cannot be measured or read is named, and the rest is measured; with a damaged shard, or no image that can be
    read, the exit code is 1.
    """
    with report_errors("evaluate-tokenizer", debug):
        check_output_folder(out)
        from ...evaluation.reference_weights import out_of_reach

        given = {"lpips": lpips_weights, "rfid": inception_weights}
        missing = out_of_reach([name for name, path in given.items() if path is None], frechet or [])
        from ...evaluation.reference_metrics import gather_judges
        from ...tokenizer.errors import WorkFailedError
        from ...tokenizer.files import hold_folder
        from ..api import load
        from ..evaluate.evaluation import evaluate
        from ..evaluate.inputs import EvaluationInputs
        from ..evaluate.report import Subject, facts, write_metrics, write_page
        from ..inputs.plan import plan_shards

        tokenizer = load(model, device)
        shards = plan_shards(data, 1000, out).shards
        inputs = EvaluationInputs(shards, tokenizer.config.preprocessing, tokenizer.downsample)
        panel = gather_judges(frechet or [], lpips_weights, inception_weights, tokenizer.device, missing)
        for name, reason in panel.not_measured.items():
            say(f"{name} not measured: {reason}", as_json)
        try:
            samples = track(inputs.samples, "images", quiet=quiet)
            evaluation = evaluate(tokenizer, inputs.images(samples), panel.judges)
        except ValueError:
            if inputs.lost:
                raise WorkFailedError(inputs.lost[0]) from None
            if inputs.failures and len(inputs.failures) == len(inputs.samples):
                row, *rest = inputs.failures
                others = f", nor can {pluralize(len(rest), 'other')}" if rest else ""
                raise WorkFailedError(
                    f"There is no image to evaluate on: {row.source} cannot be used ({row.reason}){others}: give "
                    "images that can be read."
                ) from None
            raise
        not_measured = panel.not_measured | evaluation.not_measured
        subject = Subject(model, tokenizer, data, evaluation, inputs.failures, inputs.lost, not_measured)
        with hold_folder(out, "evaluate-tokenizer"):
            metrics, page = write_metrics(out, subject), write_page(out, subject)
        if as_json:
            print_json({**facts(subject), "report": page})
        else:
            _show(subject)
            say(f"in {metrics} and {page}")
        if inputs.lost:
            raise typer.Exit(WORK_FAILED)


def main() -> None:
    """Run the command."""
    app()


def _show(subject: "Subject") -> None:
    from rich.console import Console

    from ..evaluate.summary import summary_lines, summary_table

    Console(highlight=False).print(summary_table(subject))
    for line in summary_lines(subject):
        say(line)
