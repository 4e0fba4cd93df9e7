"""The report of a run: its logs as charts, its codebook, and images beside their reconstructions."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..evaluation.rows import ROWS, Row
from ..report.codebooks import codebook_views
from ..report.content import Chart, Comparison, Curve, ImageRow, Report, Table, environment
from ..report.page import render
from ..tokenizer.files import write_whole
from .batch_advice import batch_advice
from .config import CONFIG_FILE
from .logs.log_file import LogLines, read_log
from .logs.run_log import METRICS_FILE, TIMING_FILE
from .run import Run
from .samples import RECONSTRUCTION, rows_in_time

REPORT_FILE = "report.html"
ENDED = "The run ended at step"
"""How a report begins to say that its run ended early."""
CODEBOOK = "codebook/"
CHARTS = (
    ("Losses", "linear", "loss/*"),
    ("Validation PSNR (dB)", "linear", "validation/psnr"),
    ("Use of the codebook, as fractions", "linear", "codebook/usage", "codebook/dead", "codebook/perplexity_fraction"),
    (
        "Directions of codes and latents (effective rank)",
        "linear",
        "codebook/effective_rank",
        "codebook/latent_effective_rank",
    ),
    ("Distortion, and as a fraction of the variance", "log", "codebook/distortion", "codebook/relative_distortion"),
    ("Codes to latents: length ratio and obtuse angles", "linear", "codebook/length_ratio", "codebook/obtuse"),
    ("Discriminator: loss and logits", "linear", "discriminator/loss", "discriminator/real", "discriminator/fake"),
    ("Penalties on the discriminator", "log", "discriminator/lecam", "discriminator/r1"),
    ("Spread of the samples over seeds, and size of what is painted, to the residual", "linear", "spread/*"),
    ("|teacher - fake network|", "log", "matching/distance"),
    ("Fake network: loss", "linear", "fake/loss"),
    ("Factor of the adversarial loss", "linear", "adversarial/factor"),
    ("Learning rate", "linear", "optimizer/lr"),
    ("Gradient norm", "log", "optimizer/gradient_norm"),
    ("Size of the updates", "log", "optimizer/update_rms/*"),
    ("Entropy of singular values", "linear", "optimizer/singular_entropy"),
    ("Gradient noise scale, in images", "log", "noise_scale/*", "curvature/noise_scale"),
    ("Curvature along directions", "log", "curvature/gradient", "curvature/adamw", "curvature/muon", "curvature/mean"),
    ("Curvature ratio", "linear", "curvature/ratio"),
    ("Images per second", "linear", "time/images_per_second"),
)
"""Title and scale of each chart, and patterns of the log paths of its scalars."""


def write_run_report(run: Run, rows: list[ImageRow], notes: list[str]) -> None:
    """Write the report of a run from its logs, and images beside what its EMA weights make of them; `notes` come first."""
    out = run.config.run.out
    lines, problems = read_logs(out)
    last = _newest(lines)
    advice = batch_advice(last, run.config)
    tables = {}
    if advice:
        tables[advice.sentence] = advice.table
        rates = Table(["add to the command"], [[advice.overrides]])
        tables["To scale the learning rates to another batch size"] = rates
    alarms = [f"Step {line['step']}: {alarm}" for line in lines for alarm in line.get("alarms", [])]
    report = Report(
        title=out.resolve().name,
        subtitle=f"{_subject(run)}, {reached(run.ema.updates, run.config.run.steps)}",
        figures=_figures(last),
        notes=notes + problems + alarms,
        charts=run_charts(lines, is_codebook_frozen=run.recipe is not None),
        codebooks=codebook_views(run.ema.model.quantizer, run.monitor.last_counts),
        comparisons=[]
        if run.recipe
        else [Comparison(row.label, row.original, row.reconstructions[RECONSTRUCTION]) for row in rows],
        image_rows={"Samples": rows, "Samples over time, seed 0": rows_in_time(out)} if run.recipe else {},
        tables=tables,
        config=(out / CONFIG_FILE).read_text(),
        environment=environment(run.accelerator.device),
    )
    write_whole(out / REPORT_FILE, render(report).encode())


def _subject(run: Run) -> str:
    if training := run.config.decoder:
        return f"decoder {training.name} by the recipe {training.recipe.name}"
    return f"{run.config.model.quantizer.name} quantizer"


def reached(step: int, steps: int) -> str:
    """Return how a report says which step it shows."""
    return f"step {step} of {steps}"


def read_logs(folder: Path) -> LogLines:
    """Return the good lines of both logs of a run folder, and what is wrong with the others."""
    logs = [read_log(folder / name) for name in (METRICS_FILE, TIMING_FILE)]
    return LogLines([line for log in logs for line in log.lines], [problem for log in logs for problem in log.problems])


def run_charts(lines: list[dict[str, Any]], is_codebook_frozen: bool = False) -> list[Chart]:
    """Return the charts that have a curve in the logs of a run; a codebook that is frozen has none."""
    charts, paths = [], {path for line in lines for path in line}
    if is_codebook_frozen:
        paths = {path for path in paths if not path.startswith(CODEBOOK)}
    for title, scale, *patterns in CHARTS:
        names = sorted(path for path in paths if any(fnmatchcase(path, pattern) for pattern in patterns))
        short = [name.rpartition("/")[2] for name in names]
        labels = short if len(set(short)) == len(short) else names
        curves = []
        for name, label in zip(names, labels, strict=True):
            having = [line for line in lines if name in line]
            curves.append(Curve(label, [line["step"] for line in having], [line[name] for line in having]))
        if curves:
            charts.append(Chart(title, curves, scale == "log"))
    return charts


def last_values(folder: Path) -> dict[str, float]:
    """Return the newest value of each scalar in a run folder's logs."""
    return _newest(read_logs(folder).lines)


def _newest(lines: list[dict[str, Any]]) -> dict[str, float]:
    return {name: value for line in lines for name, value in line.items() if name != "alarms"}


def _figures(last: Mapping[str, float]) -> dict[str, str]:
    """Return the newest values of what a quality table has too, in its words, and the loss."""
    rows = {"validation/psnr": ROWS["psnr"], **{f"codebook/{name}": row for name, row in ROWS.items()}}
    rows["loss/total"] = Row("loss", "{:.4f}")
    return {row.label: row.text(last[path]) for path, row in rows.items() if path in last}
