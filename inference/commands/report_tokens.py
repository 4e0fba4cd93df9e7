"""report-tokens: one page about a folder of token shards."""

from pathlib import Path
from typing import Annotated

import typer

from ...cli.options import DebugOption, JsonOption, QuietOption, VersionOption
from ...cli.printing import print_json, say
from ...cli.user_errors import report_errors
from ...pretrained.find import MODEL_HELP

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def report_tokens(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="Folder that tokenize-images wrote, or its URL.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page.", show_default="tokens.html in DIR")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help=MODEL_HELP, show_default="the one in manifest.json"),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="INPUT",
            help="What the tokens were made of, as tokenize-images takes it, for originals beside the reconstructions; "
            "repeat it for several.",
        ),
    ] = None,
    image_column: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Column of parquet files of --source that has the images.",
            show_default="the only one with bytes",
        ),
    ] = "",
    rows: Annotated[
        int | None,
        typer.Option(min=1, help="Read shards, drawn at random, until they have N rows.", show_default="all"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto (cuda if there is one), cpu, cuda or mps.")] = "auto",
    quiet: QuietOption = False,
    json: JsonOption = False,
    version: VersionOption = False,
    debug: DebugOption = False,
) -> None:
    """Show what is in token shards: use of the codes, images, failures, sizes, speed.

    Exit code 0: the page is there, whatever it says. 1: the folder cannot be read or the page not written. 2: a wrong call.
    """
    with report_errors("report-tokens", debug):
        if image_column and not source:
            raise ValueError("--image-column is for parquet files with the images: give these by --source too.")
        from ..collection_report.page_file import page_of
        from ..collection_report.report import Request, report_tokens
        from ..collection_report.summary import as_dict, lines

        page = page_of(folder) if out is None else out
        request = Request(folder, page, model, source or [], image_column, device, rows, quiet)
        collection = report_tokens(request)
        if json:
            print_json(as_dict(collection, page))
        else:
            for line in lines(collection, page):
                say(line)
