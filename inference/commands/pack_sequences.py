"""pack-sequences: token shards with captions to training sequences of a language model."""

from typing import Annotated

import typer

from ...cli.options import DebugOption, JsonOption, QuietOption, VersionOption
from ...cli.printing import print_json, say
from ...cli.user_errors import WORK_FAILED, report_errors

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def pack_sequences(
    tokens: Annotated[
        str,
        typer.Argument(metavar="TOKENS", help="Folder or URL that tokenize-images wrote.", show_default=False),
    ],
    out: Annotated[str, typer.Option(help="Folder for the packed shards, or a URL; the same call resumes.")],
    text_tokenizer: Annotated[
        str,
        typer.Option(
            metavar="FILE|FOLDER|NAME",
            help="The language model's: a folder of transformers, a tokenizer.json, a .tiktoken file, or a name of tiktoken.",
        ),
    ],
    layout: Annotated[
        str, typer.Option(metavar="NAME", help="How an image becomes ids: raster, emu3, chameleon, lumina and others.")
    ] = "raster",
    layout_option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Option of the layout, such as last_row_end=false. May be repeated."),
    ] = None,
    format: Annotated[
        str,
        typer.Option(
            metavar="megatron|parquet|npy",
            help="megatron is .bin and .idx, with a second pair for the loss mask; parquet a table with a row a sequence; npy "
            "plain arrays and offsets.",
        ),
    ] = "megatron",
    vocabulary: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Which ids are text, codes and structure: a vocabulary.json or its folder.",
            show_default="the one beside the text tokenizer, else codes behind its ids",
        ),
    ] = None,
    extend: Annotated[
        bool,
        typer.Option(
            "--extend",
            help="Add codes and structure tokens behind the ids of the text tokenizer, which stay what they are. A larger "
            "tokenizer.json is kept in --out; for tiktoken, vocabulary.json has the names of the new ids.",
        ),
    ] = False,
    order: Annotated[
        str | None,
        typer.Option(
            metavar="caption-image|image-caption", help="What comes first in a document.", show_default="caption-image"
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="A document in full, in place of --order: text, {image} once, {caption}, and members such as {txt} or "
            r"{json.title}; \n is a line end.",
        ),
    ] = None,
    caption: Annotated[
        str,
        typer.Option(metavar="MEMBER", help="What {caption} stands for: an extension, or a key such as json.title."),
    ] = "txt",
    on_missing: Annotated[
        str,
        typer.Option(
            metavar="skip|image",
            help="Images without a caption: skip lists them and leaves them out, image makes a document of the image alone.",
        ),
    ] = "skip",
    bos: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN", help="Token that begins a document, by its name.", show_default="the vocabulary's"
        ),
    ] = None,
    eos: Annotated[
        str | None,
        typer.Option(metavar="TOKEN", help="Token that ends a document, by its name.", show_default="the vocabulary's"),
    ] = None,
    length: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Pack whole documents into rows of N ids. A longer document is a failure that is listed, never cut.",
            show_default="one document a row",
        ),
    ] = None,
    pad: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            help="With --length: token of the rest of a row, by its name.",
            show_default="the vocabulary's",
        ),
    ] = None,
    loss: Annotated[
        str, typer.Option(metavar="image|text|both", help="Which ids are to be predicted: the loss mask.")
    ] = "both",
    mask_at: Annotated[
        str,
        typer.Option(
            metavar="target|prediction",
            help="Where the mask is 1: at the id that is to be predicted, as labels of transformers have it, or one before, as "
            "packed datasets of Megatron-Bridge want it.",
        ),
    ] = "target",
    skip_incomplete: Annotated[
        bool,
        typer.Option("--skip-incomplete", help="Pack the token shards that are whole; a later call does the others."),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes, a shard each. No byte depends on it.", show_default="by the work"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="First remove all that pack-sequences wrote into --out.")
    ] = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
    version: VersionOption = False,
    debug: DebugOption = False,
) -> None:
    """Turn token shards and their captions into training sequences: ids, a loss mask, and where documents begin.

    Exit code 0: every shard is done. 1: one is damaged or cannot be written, or there is no document. 2: a wrong call.
    """
    with report_errors("pack-sequences", debug):
        from ..pack.request import Request
        from ..pack.run import pack_collection

        request = Request(
            tokens=tokens,
            out=out,
            text_tokenizer=text_tokenizer,
            vocabulary=vocabulary,
            extend=extend,
            layout=layout,
            layout_options=layout_option or [],
            packed_format=format,
            order=order,
            template=template,
            caption=caption,
            on_missing=on_missing,
            bos=bos,
            eos=eos,
            pad=pad,
            length=length,
            loss=loss,
            mask_at=mask_at,
            skip_incomplete=skip_incomplete,
            workers=workers,
            overwrite=overwrite,
            quiet=quiet,
        )
        summary = pack_collection(request, lambda line: say(line, aside=json))
        if json:
            print_json(summary.as_dict())
        else:
            for line in summary.lines():
                say(line)
        if summary.has_failed:
            raise typer.Exit(WORK_FAILED)
