"""finetune-tokenizer: a tokenizer folder and one's own pictures to a tokenizer that fits them."""

from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from ..report.content import Table as Rows
from ..terminal import one_sentence
from ..tokenizer.config import Config, parse_config
from ..tokenizer.devices import multiplies_bfloat16
from ..tokenizer.files import write_whole
from ..tokenizer.weights import LoadedTokenizer, load_tokenizer, save_tokenizer
from .config import apply_override, config_text
from .finetune import STAGES, Finetuned, finetune
from .finetune_config import CONFIG_FILE, FinetuneConfig
from .finetune_options import complete_quantizer, quantizer_section
from .finetune_report import judge_both
from .run import this_process

app = typer.Typer(add_completion=False, rich_markup_mode=None)
console = Console(highlight=False)


@app.command()
def finetune_tokenizer(
    model: Annotated[str, typer.Argument(help="Built-in name, tokenizer folder, or hf://owner/repo.")],
    data: Annotated[
        list[str],
        typer.Argument(metavar="DATA...", help="Folders, picture files, .tar shards, or .txt lists of these."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the result; the same call goes on where it left off.")],
    quantizer: Annotated[
        str | None, typer.Option(help="Swap the quantizer: vq, ema, simvq, fsq, ...", show_default=False)
    ] = None,
    codebook_size: Annotated[
        int | None, typer.Option(min=2, help="Codes of the new quantizer.", show_default=False)
    ] = None,
    dim: Annotated[
        int | None, typer.Option(min=1, help="Channels of the new quantizer.", show_default="the old one's")
    ] = None,
    levels: Annotated[
        str | None, typer.Option(help="Levels of a new fsq, such as 8,8,8,5.", show_default=False)
    ] = None,
    grow_to: Annotated[
        int | None, typer.Option(min=2, help="Grow the codebook to this many codes.", show_default=False)
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(help="Train only these parts, such as decoder, which keeps the tokens.", show_default="all"),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=0, help="Steps of the last stage, in which all parts learn.", show_default="1000, or 0 after a swap"
        ),
    ] = None,
    val: Annotated[
        list[str] | None, typer.Option(help="Pictures to judge on.", show_default="a tenth of DATA, held out")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any other key of finetune.yaml, such as decoder.steps=2000.",
            show_default=False,
        ),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Fine-tune a tokenizer on pictures: go on with it, swap its quantizer, grow its codebook, or adapt its decoder."""
    with one_sentence("finetune-tokenizer", debug):
        new = quantizer_section(quantizer, {"codebook_size": codebook_size, "dim": dim, "levels": levels})
        sections = {name: field.default for name, field in FinetuneConfig.model_fields.items()}
        values: dict[str, Any] = {
            # Spelled out, so that --set can change one key of a section.
            **{name: default.model_dump() for name, default in sections.items() if isinstance(default, Config)},
            "model": model,
            "out": str(out),
            "data": {"train": data, "val": val or []},
            "quantizer": new,
            "grow_to": grow_to,
            "precision": "bfloat16" if multiplies_bfloat16(_device()) else "float32",
            "seed": seed,
        }
        values["joint"] |= {"steps": steps}
        if only is not None:
            values["train"] = only.split(",")
        for override in set_ or []:
            apply_override(values, override)
        complete_quantizer(values["quantizer"], model)
        if isinstance(joint := values["joint"], dict) and joint.get("steps") is None:
            joint["steps"] = 1000 if values["quantizer"] is None and values["grow_to"] is None else 0
        config = parse_config(FinetuneConfig, values)
        _check_alone(config)
        _remember(config)
        done = finetune(config, lambda sentence: console.print(sentence, markup=False, soft_wrap=True))
        after = _export(config, done)
        table, page = judge_both(config, done, after, _device())
        _show(table)
        console.print(f"tokenizer   {config.out / 'export'}", markup=False, soft_wrap=True)
        console.print(f"report      {page}", markup=False, soft_wrap=True)


def main() -> None:
    """Run the command."""
    app()


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _check_alone(config: FinetuneConfig) -> None:
    processes = this_process(config.precision).num_processes
    if processes > 1:
        raise ValueError(f"finetune-tokenizer works in one process, but {processes} were launched: start it by itself.")


def _remember(config: FinetuneConfig) -> None:
    """Write the config; raise ValueError when another one has results in this folder."""
    path, text = config.out / CONFIG_FILE, config_text(config)
    before = path.read_text() if path.exists() else text
    if before != text and any(file.is_file() for file in (config.out / STAGES).rglob("*")):
        refused = path.with_name(CONFIG_FILE + ".refused")
        write_whole(refused, text.encode())
        raise ValueError(
            f"{config.out} holds a fine-tuning with another configuration ({CONFIG_FILE}, this call's is beside it as "
            f"{refused.name}): use another --out folder, or the call that made it."
        )
    write_whole(path, text.encode())


def _export(config: FinetuneConfig, done: Finetuned) -> LoadedTokenizer:
    """Write the last stage's tokenizer, folded, as the result, and return it as it will be loaded."""
    loaded = load_tokenizer(done.after)
    folder = config.out / "export"
    save_tokenizer(folder, loaded.model, loaded.config.architecture, loaded.config.preprocessing, _card(config, done))
    return load_tokenizer(folder)


def _card(config: FinetuneConfig, done: Finetuned) -> str:
    sources = "\n".join(f"- {path}" for path in config.data.train)
    parts = [f"the quantizer became {config.quantizer.name}"] if config.quantizer else []
    parts += [f"the codebook grew to {config.grow_to:,} codes"] if config.grow_to else []
    parts += [f"{', '.join(config.train)} learned for {config.joint.steps} steps"] if config.joint.steps else []
    return f"""# {config.out.resolve().name}

A visual tokenizer, fine-tuned from {config.model}: {"; ".join(parts)}.

Pictures:

{sources}

{done.split.note[0].upper()}{done.split.note[1:]}; the figures are in ../metrics.json.
"""


def _show(rows: Rows) -> None:
    table = Table(*rows.header)
    for row in rows.rows:
        table.add_row(*row)
    console.print(table)
