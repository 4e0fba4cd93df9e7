"""evaluate-tokenizer: how good a tokenizer is on one's own images."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ...cli.options import (
    DebugOption,
    InceptionWeightsOption,
    JsonOption,
    LpipsWeightsOption,
    QuietOption,
    VersionOption,
    check_output_folder,
)
from ...cli.printing import print_json, say
from ...cli.progress import track
from ...cli.user_errors import WORK_FAILED, report_errors
from ...pretrained.find import MODEL_HELP

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def evaluate_tokenizer(
    model: Annotated[str, typer.Argument(help=MODEL_HELP)],
    data: Annotated[
        list[str], typer.Argument(metavar="DATA", help="Image files, folders, .tar shards or .txt lists of these.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for metrics.json and report.html.")],
    frechet: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=FILE]",
            help="Also measure the Frechet distance over this timm model, with weights from FILE or the hub.",
            show_default=False,
        ),
    ] = None,
    lpips_weights: LpipsWeightsOption = None,
    inception_weights: InceptionWeightsOption = None,
    device: Annotated[str, typer.Option(help="auto (cuda if there is one), cpu, cuda or mps.")] = "auto",
    quiet: QuietOption = False,
    as_json: JsonOption = False,
    version: VersionOption = False,
    debug: DebugOption = False,
) -> None:
    """Encode and decode images, and measure quality, codebook usage and speed, in float32.

    Whatever cannot be measured or read is named, and the rest is measured. The exit code is 1 if a shard is damaged or no
    image can be read.
    """
    with report_errors("evaluate-tokenizer", debug):
        check_output_folder(out)
        from ...evaluation.reference_weights import unavailable

        frechet = frechet or []
        given = {"lpips": lpips_weights, "rfid": inception_weights}
        missing = unavailable([name for name, path in given.items() if path is None], frechet)
        # After the question whether the hub can be reached: this imports its clients.
        from ...evaluation.reference_metrics import build_reference_metrics
        from ...tokenizer.folder_lock import hold_folder
        from ..api import load
        from ..evaluate.evaluation import EvaluationInputs, evaluate
        from ..evaluate.results import metrics, summary_lines, summary_table, write_results

        tokenizer = load(model, device)
        inputs = EvaluationInputs(data, tokenizer, out)
        reference = build_reference_metrics(frechet, lpips_weights, inception_weights, tokenizer.device, missing)
        told = dict(reference.not_measured)
        for name, reason in told.items():
            say(f"{name} not measured: {reason}", as_json)
        evaluation = evaluate(
            model, tokenizer, inputs, reference, lambda samples: track(samples, "images", quiet=quiet)
        )
        with hold_folder(out, "evaluate-tokenizer"):
            files = write_results(out, evaluation)
        if as_json:
            print_json({**metrics(evaluation), "report": files[1]})
        else:
            Console(highlight=False).print(summary_table(evaluation))
            for line in summary_lines(evaluation):
                say(line)
            for name, reason in evaluation.not_measured.items():
                if name not in told:
                    say(f"{name} not measured: {reason}")
            say(f"in {files[0]} and {files[1]}")
        if inputs.lost:
            raise typer.Exit(WORK_FAILED)
