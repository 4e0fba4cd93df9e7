"""evaluate-tokenizer: how good a tokenizer is on one's own images."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ...cli.options import (
    DebugOption,
    DecoderOption,
    InceptionWeightsOption,
    JsonOption,
    LpipsWeightsOption,
    QuietOption,
    SeedOption,
    VersionOption,
    check_output_folder,
)
from ...cli.user_errors import WORK_FAILED, report_errors
from ...pretrained.find import MODEL_HELP

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def evaluate_tokenizer(
    model: Annotated[str, typer.Argument(metavar="MODEL...", help=f"{MODEL_HELP} Several are compared.")],
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
    prior: Annotated[
        int | None,
        typer.Option(
            metavar="STEPS",
            min=1,
            help="Also measure how learnable the tokens are: train a small transformer on most images for so many steps, "
            "and count its bits on the others.",
            show_default=False,
        ),
    ] = None,
    lpips_weights: LpipsWeightsOption = None,
    inception_weights: InceptionWeightsOption = None,
    decoder: DecoderOption = "plain",
    seed: SeedOption = 0,
    device: Annotated[str, typer.Option(help="auto (cuda if there is one), cpu, cuda or mps.")] = "auto",
    quiet: QuietOption = False,
    as_json: JsonOption = False,
    version: VersionOption = False,
    debug: DebugOption = False,
) -> None:
    """Encode and decode images, and measure quality, codebook usage and speed, in float32.

    Several tokenizers are measured on the same images, each on its own crop and all on a common one, and shown side by
    side: give all tokenizers before the images.

    Whatever cannot be measured or read is named, and the rest is measured. The exit code is 1 if a shard is damaged or no
    image can be read.
    """
    with report_errors("evaluate-tokenizer", debug):
        check_output_folder(out)
        from ..evaluate.arguments import split_arguments

        models, images = split_arguments(model, data)
        from ...evaluation.reference_weights import unavailable

        frechet = frechet or []
        missing = unavailable({"lpips": lpips_weights, "rfid": inception_weights}, frechet)
        # After the question whether the hub can be reached: this imports its clients.
        from ...evaluation.reference_metrics import build_reference_metrics
        from ...tokenizer.devices import find_device
        from ..arithmetic import DecoderChoice
        from ..evaluate.run import Request, run_comparison, run_evaluation

        reference = partial(
            build_reference_metrics, frechet, lpips_weights, inception_weights, find_device(device), missing
        )
        request = Request(models, images, out, device, reference, quiet, as_json, prior, DecoderChoice(decoder, seed))
        if run_evaluation(request) if len(models) == 1 else run_comparison(request):
            raise typer.Exit(WORK_FAILED)
