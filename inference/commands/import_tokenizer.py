"""import-tokenizer: a public checkpoint to a tokenizer folder."""

from pathlib import Path
from typing import Annotated

import typer

from ...cli.options import DebugOption, JsonOption, VersionOption, check_output_folder
from ...cli.printing import print_json, say
from ...cli.user_errors import report_errors

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def import_tokenizer(
    checkpoint: Annotated[
        list[str],
        typer.Argument(
            metavar="[FAMILY] CHECKPOINT",
            help="A .safetensors or PyTorch file (.pt, .pth, .ckpt, .bin). Name its family first, such as llamagen, when it is "
            "not recognised by its tensors.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="New folder for the tokenizer.")],
    json: JsonOption = False,
    version: VersionOption = False,
    debug: DebugOption = False,
) -> None:
    """Turn the checkpoint of a public tokenizer into a tokenizer folder, which all other commands take.

    No code in the file is run. Every tensor must be used once and have the right shape, or nothing is written.
    """
    with report_errors("import-tokenizer", debug):
        if len(checkpoint) > 2:
            raise ValueError(f"import-tokenizer got {len(checkpoint)} arguments: give [FAMILY] CHECKPOINT.")
        check_output_folder(out)
        from ...pretrained.importers.import_checkpoint import import_checkpoint  # late: it imports torch

        *family, path = checkpoint
        recognised, fingerprint = import_checkpoint(Path(path), out, *family)
        if json:
            print_json({"tokenizer": out, "family": recognised, "fingerprint": fingerprint})
        else:
            say(f"tokenizer   {out}, imported as {recognised}")
            say(f"fingerprint {fingerprint}")
