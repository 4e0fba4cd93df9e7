"""finetune-tokenizer: adapt a tokenizer to one's own images."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ...cli.options import (
    DebugOption,
    InceptionWeightsOption,
    JsonOption,
    LpipsWeightsOption,
    QuietOption,
    VersionOption,
    check_output_folder,
)
from ...cli.user_errors import report_errors
from ...pretrained.find import MODEL_HELP

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def finetune_tokenizer(
    model: Annotated[str, typer.Argument(help=MODEL_HELP)],
    data: Annotated[
        list[str],
        typer.Argument(metavar="DATA", help="Folders, image files, .tar shards, or .txt lists of these."),
    ],
    out: Annotated[Path, typer.Option(help="Output folder; the same call resumes where it stopped.")],
    size: Annotated[
        int | None,
        typer.Option(
            min=8, help="Side of the squares to adapt to, which tokenize-images then makes.", show_default="as before"
        ),
    ] = None,
    quantizer: Annotated[
        str | None, typer.Option(help="New quantizer: vq, ema, simvq, fsq, ...", show_default="the old one")
    ] = None,
    codebook_size: Annotated[
        int | None, typer.Option(min=2, help="Number of codes of the new quantizer.", show_default=False)
    ] = None,
    dim: Annotated[
        int | None, typer.Option(min=1, help="Channels of the new quantizer.", show_default="as the old one")
    ] = None,
    levels: Annotated[
        str | None, typer.Option(help="Levels of a new fsq, such as 8,8,8,5.", show_default=False)
    ] = None,
    grow_to: Annotated[
        int | None,
        typer.Option(min=2, help="New size of the codebook; old codes keep their indices.", show_default=False),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(help="Parts to train, such as decoder, which keeps the tokens.", show_default="all"),
    ] = None,
    decoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Train an extra decoder of this name, which paints what the tokens left out; all else stays as it is.",
            show_default=False,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="How to train it: gan, flow, distill or fgm.", show_default="distill, after flow"),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Steps of the last stage, which trains all parts; decoder.steps, by --set, are those of the stage before.",
            show_default="1000, 0 after a swap, or the recipe's",
        ),
    ] = None,
    val: Annotated[
        list[str] | None, typer.Option(help="Images to evaluate on.", show_default="a tenth of DATA, held out")
    ] = None,
    lpips_weights: LpipsWeightsOption = None,
    inception_weights: InceptionWeightsOption = None,
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 0,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any other key of finetune.yaml, such as decoder.steps=2000.",
            show_default=False,
        ),
    ] = None,
    quiet: QuietOption = False,
    json: JsonOption = False,
    version: VersionOption = False,
    debug: DebugOption = False,
) -> None:
    """Fine-tune a tokenizer on images: train it further, swap its quantizer, grow its codebook, adapt or add a decoder.

    A new or grown quantizer is first fitted to latents of the images, then the decoder is trained on its codes. The
    tokenizer is evaluated before and after, on images that it was not fine-tuned on.
    """
    with report_errors("finetune-tokenizer", debug):
        check_output_folder(out)
        from ...evaluation.reference_weights import unavailable  # late: torch takes seconds to import

        missing = unavailable({"lpips": lpips_weights, "rfid": inception_weights}, [])
        from ...evaluation.reference_metrics import build_reference_metrics
        from ...tokenizer.devices import default_device
        from ..finetune.options import finetune_config
        from ..finetune.run import run_finetuning
        from ..logs.run_log import Verbosity

        config = finetune_config(
            model=model,
            data=data,
            out=out,
            size=size,
            quantizer=quantizer,
            quantizer_keys={"codebook_size": codebook_size, "dim": dim, "levels": levels},
            grow_to=grow_to,
            only=only,
            decoder=decoder,
            recipe=recipe,
            steps=steps,
            val=val or [],
            seed=seed,
            overrides=set_ or [],
        )
        reference = partial(build_reference_metrics, [], lpips_weights, inception_weights, default_device(), missing)
        if lpips_weights or inception_weights:
            reference()  # raises now, not after hours of training, if a file cannot be used
        run_finetuning(config, reference, Verbosity(quiet, on_stderr=json), json)
