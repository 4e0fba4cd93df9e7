"""import-tokenizer: a public checkpoint to a tokenizer folder."""

from pathlib import Path
from typing import Annotated

import typer

from ...cli.options import DebugOption, JsonOption, VersionOption, check_output_folder
from ...cli.printing import print_json, say
from ...cli.user_errors import report_errors

FAMILIES = (
    "chameleon",
    "cosmos",
    "diffusers",
    "emu3",
    "emu3.5",
    "ibq",
    "llamagen",
    "maskgit",
    "muse",
    "open-magvit2",
    "simvq",
    "taming",
    "titok",
    "unitok",
    "var",
    "wetok",
)
"""Those that can be imported; their table imports torch, for which --help does not wait."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def import_tokenizer(
    checkpoint: Annotated[
        list[str],
        typer.Argument(
            metavar="[FAMILY] CHECKPOINT",
            help="A file (.safetensors, .pt, .pth, .ckpt, .bin, and TorchScript's .jit and .ts), or a folder with one, with "
            "shards, or with encoder.jit and decoder.jit. Name its family first when it is not recognised "
            f"by its tensors: {', '.join(FAMILIES)}.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="New folder for the tokenizer.")],
    set: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=VALUE",
            help="A setting of the tokenizer that its family does not determine, such as preprocessing.size=512 or "
            "architecture.pixel_values=[0,1]. May be repeated.",
        ),
    ] = [],  # noqa: B006 (typer makes a new list)
    trust_pickle: Annotated[
        bool,
        typer.Option(
            "--trust-pickle", help="Unpickle the file, which RUNS THE CODE IN IT. Without, nothing in it is ever run."
        ),
    ] = False,
    json: JsonOption = False,
    version: VersionOption = False,
    debug: DebugOption = False,
) -> None:
    """Turn the checkpoint of a public tokenizer into a tokenizer folder, which all other commands take.

    No code in the file is run, unless you say --trust-pickle. Every tensor must be used once and have the right shape, or
    nothing is written.
    """
    with report_errors("import-tokenizer", debug):
        if len(checkpoint) > 2:
            raise ValueError(f"{len(checkpoint)} arguments are too many: give [FAMILY] CHECKPOINT.")
        check_output_folder(out)
        from ...pretrained.importers.import_checkpoint import import_checkpoint  # late: it imports torch
        from ...pretrained.importers.settings import last_of_each

        if len(checkpoint) == 1 and checkpoint[0] in FAMILIES and not Path(checkpoint[0]).exists():
            raise ValueError(
                f"{checkpoint[0]} is a family, and CHECKPOINT is missing: give {checkpoint[0]} CHECKPOINT."
            )
        family, path = (checkpoint[0] if len(checkpoint) > 1 else None), checkpoint[-1]
        done = import_checkpoint(Path(path), out, family, settings=set, trust_pickle=trust_pickle)
        if done.doubt and not json:
            say(f"import-tokenizer: {done.doubt}", aside=True)
        if json:
            print_json({"tokenizer": out, **done._asdict(), "settings": last_of_each(set)})
        else:
            say(f"tokenizer   {out}, imported as {done.family}")
            say(f"fingerprint {done.fingerprint}")
            if not done.has_decoder:
                say("decoder     none, as in the checkpoint: images become tokens, but tokens no images")
