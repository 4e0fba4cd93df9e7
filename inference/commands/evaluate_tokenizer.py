"""evaluate-tokenizer: how good a tokenizer is on one's own images."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:  # torch takes seconds to import
    from ...evaluation.reference_metrics import ReferenceMetrics
    from ..evaluate.evaluation import EvaluationInputs

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def evaluate_tokenizer(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL...", help="Built-in names, tokenizer folders, or hf://owner/repo. Several are compared."
        ),
    ],
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
    device: Annotated[str, typer.Option(help="auto (cuda if there is one), cpu or cuda.")] = "auto",
    quiet: QuietOption = False,
    as_json: JsonOption = False,
    version: VersionOption = False,
    debug: DebugOption = False,
) -> None:
    """Encode and decode images, and measure quality, codebook usage and speed, in float32.

    Several tokenizers are measured on the same images, each on its own crop and all on a common one, and shown side by
    side. All arguments from the first that name tokenizers are tokenizers; the others are images.

    Whatever cannot be measured or read is named, and the rest is measured. The exit code is 1 if a shard is damaged or no
    image can be read.
    """
    with report_errors("evaluate-tokenizer", debug):
        check_output_folder(out)
        from ..evaluate.arguments import split_arguments

        models, images = split_arguments(model, data)
        from ...evaluation.reference_weights import unavailable

        frechet = frechet or []
        given = {"lpips": lpips_weights, "rfid": inception_weights}
        missing = unavailable([name for name, path in given.items() if path is None], frechet)
        # After the question whether the hub can be reached: this imports its clients.
        from ...evaluation.reference_metrics import build_reference_metrics
        from ...tokenizer.devices import find_device
        from ..evaluate.evaluation import EvaluationInputs

        reference = partial(
            build_reference_metrics, frechet, lpips_weights, inception_weights, find_device(device), missing
        )
        inputs = EvaluationInputs(images, out)
        if len(models) == 1:
            lost = _evaluate(models[0], inputs, device, reference(), out, quiet, as_json)
        else:
            lost = _compare(models, inputs, device, reference, out, quiet, as_json)
        if lost:
            raise typer.Exit(WORK_FAILED)


def _evaluate(
    model: str,
    inputs: "EvaluationInputs",
    device: str,
    reference: "ReferenceMetrics",
    out: Path,
    quiet: bool,
    as_json: bool,
) -> list[str]:
    """Evaluate one tokenizer, and return what was lost."""
    from ...tokenizer.folder_lock import hold_folder
    from ..api import load
    from ..evaluate.evaluation import evaluate
    from ..evaluate.results import metrics, not_measured_lines, summary_lines, summary_table, write_results

    tokenizer = load(model, device)
    told = dict(reference.not_measured) if tokenizer.model.has_decoder else {}
    for line in not_measured_lines(told):
        say(line, as_json)
    evaluation = evaluate(model, tokenizer, inputs, reference, lambda samples: track(samples, "images", quiet=quiet))
    with hold_folder(out, "evaluate-tokenizer"):
        files = write_results(out, evaluation)
    if as_json:
        print_json({**metrics(evaluation), "report": files[1]})
    else:
        Console(highlight=False).print(summary_table(evaluation))
        others = {name: reason for name, reason in evaluation.not_measured.items() if name not in told}
        for line in summary_lines(evaluation) + not_measured_lines(others):
            say(line)
        say(f"in {files[0]} and {files[1]}")
    return inputs.lost


def _compare(
    models: list[str],
    inputs: "EvaluationInputs",
    device: str,
    reference: "Callable[[], ReferenceMetrics]",
    out: Path,
    quiet: bool,
    as_json: bool,
) -> list[str]:
    """Evaluate several tokenizers side by side, and return what was lost."""
    from ...tokenizer.folder_lock import hold_folder
    from ..evaluate.arguments import short_names
    from ..evaluate.compare import compare
    from ..evaluate.compare_results import comparison_lines, comparison_metrics, comparison_tables, write_comparison

    named = dict(zip(short_names(models), models, strict=True))
    comparison = compare(named, inputs, device, reference, lambda phrase, samples: track(samples, phrase, quiet=quiet))
    with hold_folder(out, "evaluate-tokenizer"):
        files = write_comparison(out, comparison)
    if as_json:
        print_json({**comparison_metrics(comparison), "report": files[1]})
    else:
        console = Console(highlight=False)
        for table in comparison_tables(comparison, console.width):
            console.print(table)
        for line in comparison_lines(comparison):
            say(line)
        say(f"in {files[0]} and {files[1]}")
    return comparison.lost
