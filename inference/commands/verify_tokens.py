"""verify-tokens: whether a folder of token shards is whole."""

from typing import Annotated

import typer

from ...cli.options import DebugOption, JsonOption, QuietOption, VersionOption
from ...cli.printing import print_json, say
from ...cli.user_errors import WORK_FAILED, report_errors
from ...pretrained.find import MODEL_HELP

app = typer.Typer(add_completion=False, rich_markup_mode=None)
SAMPLES = 32


@app.command()
def verify_tokens(
    folder: Annotated[
        str,
        typer.Argument(
            metavar="DIR", help="Folder or URL that tokenize-images or pack-sequences wrote.", show_default=False
        ),
    ],
    deep: Annotated[
        bool,
        typer.Option(
            "--deep", help="Also decode a sample of rows, and compare it with the images it was made of, where found."
        ),
    ] = False,
    model: Annotated[
        str | None, typer.Option(help=MODEL_HELP, show_default="the one in manifest.json, if it is on this machine")
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="INPUT",
            help="With --deep: where the images are, as given to tokenize-images. May be repeated.",
            show_default="the path that each row names",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="With --deep: rows in the sample, always the same ones.", show_default=str(SAMPLES)),
    ] = None,
    device: Annotated[str, typer.Option(help="auto (cuda if there is one), cpu, cuda or mps.")] = "auto",
    quiet: QuietOption = False,
    json: JsonOption = False,
    version: VersionOption = False,
    debug: DebugOption = False,
) -> None:
    """Check a folder of token shards: sidecars, hashes, counts, types, codes, grids and keys.

    Of packed sequences it checks ids, documents and loss masks, and that each image comes back from its ids.

    Every problem is listed, by shard and key. Exit code 0: the folder is whole. 1: problems were found. 2: a wrong call.
    """
    with report_errors("verify-tokens", debug):
        if not deep and (source or samples):
            raise ValueError(f"--{'source' if source else 'samples'} is for a sample of rows: give --deep too.")
        from ..verify.run import Request, verify

        report = verify(Request(folder, deep, model, source or [], samples or SAMPLES, device, quiet))
        if json:
            print_json(report.as_dict())
        else:
            for line in report.lines():
                say(line)
        if report.problems:
            raise typer.Exit(WORK_FAILED)
