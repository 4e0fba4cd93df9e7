"""What finetune-tokenizer does with its options: a config, and the run of it in its folder."""

from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from ...cli.printing import print_json, say
from ...report.content import Table as Rows
from ...tokenizer.config import Config, parse_config
from ...tokenizer.devices import default_device
from ...tokenizer.files import hold_folder
from ...tokenizer.folder.save_load import LoadedTokenizer, load_tokenizer, save_tokenizer
from ..config_file import apply_override
from ..export import EXPORT, export_with
from ..launcher import this_process
from ..logs.verbosity import Verbosity
from .config import FinetuneConfig
from .options import complete_quantizer, quantizer_section
from .report import judge_both
from .stages import Finetuned, finetune
from .stored_config import remember


class Call(NamedTuple):
    """The options as they were given."""

    model: str
    data: list[str]
    out: Path
    quantizer: str | None
    quantizer_options: dict[str, int | str | None]
    grow_to: int | None
    only: str | None
    steps: int | None
    val: list[str]
    seed: int
    overrides: list[str]


def finetune_config(call: Call) -> FinetuneConfig:
    """Return the config that a call asks for; raise ValueError for the first thing wrong."""
    sections = {name: field.default for name, field in FinetuneConfig.model_fields.items()}
    values: dict[str, Any] = {
        # Spelled out, so that --set can change one key of a section.
        **{name: default.model_dump() for name, default in sections.items() if isinstance(default, Config)},
        "model": call.model,
        "out": str(call.out),
        "data": {"train": call.data, "val": call.val},
        "quantizer": quantizer_section(call.quantizer, call.quantizer_options),
        "grow_to": call.grow_to,
        "precision": "auto",
        "seed": call.seed,
    }
    values["joint"] |= {"steps": call.steps}
    if call.only is not None:
        values["train"] = call.only.split(",")
    for override in call.overrides:
        apply_override(values, override)
    complete_quantizer(values["quantizer"], call.model)
    if isinstance(joint := values["joint"], dict) and joint.get("steps") is None:
        joint["steps"] = 1000 if values["quantizer"] is None and values["grow_to"] is None else 0
    return parse_config(FinetuneConfig, values)


def run_finetuning(config: FinetuneConfig, verbosity: Verbosity, json: bool) -> None:
    """Run a fine-tuning, go on with one that was stopped, and say what came of it.

    Raises FolderBusyError when another command writes into its folder, ValueError for what a user can change, and OSError.
    """

    def report(sentence: str) -> None:
        if not verbosity.quiet or sentence.startswith("warning"):
            say(sentence, aside=verbosity.on_stderr)

    _check_alone(config)
    with hold_folder(config.out, "finetune-tokenizer"):
        for warning in remember(config):
            report(f"warning: {warning}")
        done = finetune(config, report, verbosity)
        after = _export(config, done)
        judged = judge_both(config, done, after, default_device(), report, verbosity.quiet)
    if json:
        print_json({"tokenizer": config.out / EXPORT, "report": judged.page, **judged.facts})
        return
    verbosity.console().print(_table(judged.table))
    say(f"tokenizer   {config.out / EXPORT}")
    say(f"report      {judged.page}")


def _check_alone(config: FinetuneConfig) -> None:
    processes = this_process(config.precision).num_processes
    if processes > 1:
        raise ValueError(f"finetune-tokenizer works in one process, but {processes} were launched: start it by itself.")


def _export(config: FinetuneConfig, done: Finetuned) -> LoadedTokenizer:
    """Write the last stage's tokenizer as the result, without training state, and return it as it will be loaded."""
    loaded = load_tokenizer(done.after)
    folder = config.out / EXPORT
    config_after, card = loaded.config, _card(config, done)
    export_with(
        lambda place: save_tokenizer(place, loaded.model, config_after.architecture, config_after.preprocessing, card),
        folder,
    )
    return load_tokenizer(folder)


def _card(config: FinetuneConfig, done: Finetuned) -> str:
    sources = "\n".join(f"- {path}" for path in config.data.train)
    parts = [f"the quantizer became {config.quantizer.name}"] if config.quantizer else []
    parts += [f"the codebook grew to {config.grow_to:,} codes"] if config.grow_to else []
    parts += [f"{', '.join(config.train)} learned for {config.joint.steps} steps"] if config.joint.steps else []
    return f"""# {config.out.resolve().name}

A visual tokenizer, fine-tuned from {config.model}: {"; ".join(parts)}.

Images:

{sources}

{done.split.note[0].upper()}{done.split.note[1:]}; the figures are in ../metrics.json.
"""


def _table(rows: Rows) -> Table:
    table = Table(*rows.header)
    for row in rows.rows:
        table.add_row(*row)
    return table
