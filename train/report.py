"""The report of a run: its logs as charts, its codebook, and images beside their reconstructions."""

from pathlib import Path
from typing import Any

from ..report.codebooks import codebook_views
from ..report.content import Chart, Comparison, Curve, Report, environment
from ..report.page import render
from ..tokenizer.files import write_whole
from .batch_advice import batch_tables
from .config import CONFIG_FILE
from .logs.log_file import LogLines, read_log
from .logs.run_log import METRICS_FILE, TIMING_FILE
from .run import Run

REPORT_FILE = "report.html"
ENDED = "The run ended at step"
"""How a report begins to say that its run ended early."""
CHARTS = {
    "Losses": ["loss/"],
    "Validation PSNR (dB)": ["validation/psnr"],
    "Use of the codebook, as fractions": ["codebook/usage", "codebook/dead", "codebook/perplexity_fraction"],
    "Directions of codes and latents (effective rank)": ["codebook/effective_rank", "codebook/latent_effective_rank"],
    "Distortion, and as a fraction of the variance": ["codebook/distortion", "codebook/relative_distortion"],
    "Codes to latents: length ratio and obtuse angles": ["codebook/length_ratio", "codebook/obtuse"],
    "Discriminator: loss and logits": ["discriminator/loss", "discriminator/real", "discriminator/fake"],
    "Penalties on the discriminator": ["discriminator/lecam", "discriminator/r1"],
    "Factor of the adversarial loss": ["adversarial/factor"],
    "Learning rate": ["optimizer/lr"],
    "Gradient norm": ["optimizer/gradient_norm"],
    "Size of the updates": ["optimizer/update_rms/"],
    "Entropy of singular values": ["optimizer/singular_entropy"],
    "Gradient noise scale, in images": ["noise_scale/", "curvature/noise_scale"],
    "Curvature along directions": ["curvature/gradient", "curvature/adamw", "curvature/muon", "curvature/mean"],
    "Curvature ratio": ["curvature/ratio"],
    "Images per second": ["time/images_per_second"],
}
"""Title of each chart and its scalars, by log path or by a prefix that ends in a slash."""
LOG_SCALE = (
    "Distortion, and as a fraction of the variance",
    "Penalties on the discriminator",
    "Gradient norm",
    "Size of the updates",
    "Gradient noise scale, in images",
    "Curvature along directions",
)


def write_run_report(run: Run, comparisons: list[Comparison], notes: list[str]) -> None:
    """Write the report of a run from its logs and its EMA weights; `notes` come first."""
    out = run.config.run.out
    lines, problems = read_logs(out)
    alarms = [f"Step {line['step']}: {alarm}" for line in lines for alarm in line.get("alarms", [])]
    report = Report(
        title=out.resolve().name,
        subtitle=f"{run.config.model.quantizer.name} quantizer, {reached(run.ema.updates, run.config.run.steps)}",
        figures=_figures(lines),
        notes=notes + problems + alarms,
        charts=run_charts(lines),
        codebooks=codebook_views(run.ema.model.quantizer, run.monitor.last_counts),
        comparisons=comparisons,
        tables=batch_tables(_newest(lines), run.config),
        config=(out / CONFIG_FILE).read_text(),
        environment=environment(),
    )
    write_whole(out / REPORT_FILE, render(report).encode())


def reached(step: int, steps: int) -> str:
    """Return how a report says which step it shows."""
    return f"step {step} of {steps}"


def read_logs(folder: Path) -> LogLines:
    """Return the good lines of both logs of a run folder, and what is wrong with the others."""
    logs = [read_log(folder / name) for name in (METRICS_FILE, TIMING_FILE)]
    return LogLines([line for log in logs for line in log.lines], [problem for log in logs for problem in log.problems])


def run_charts(lines: list[dict[str, Any]]) -> list[Chart]:
    """Return the charts that have a curve in the logs of a run."""
    charts = []
    for title, wanted in CHARTS.items():
        names = sorted({name for line in lines for name in line if any(_is_wanted(name, want) for want in wanted)})
        short = [name.rpartition("/")[2] for name in names]
        labels = short if len(set(short)) == len(short) else names
        curves = [_curve(name, label, lines) for name, label in zip(names, labels, strict=True)]
        if curves:
            charts.append(Chart(title, curves, title in LOG_SCALE))
    return charts


def last_values(folder: Path) -> dict[str, float]:
    """Return the newest value of each scalar in a run folder's logs."""
    return _newest(read_logs(folder).lines)


def _newest(lines: list[dict[str, Any]]) -> dict[str, float]:
    return {name: value for line in lines for name, value in line.items() if name != "alarms"}


def _is_wanted(name: str, want: str) -> bool:
    return name.startswith(want) if want.endswith("/") else name == want


def _curve(name: str, label: str, lines: list[dict[str, float]]) -> Curve:
    seen = [(int(line["step"]), float(line[name])) for line in lines if name in line]
    return Curve(label, [step for step, _ in seen], [value for _, value in seen])


def _figures(lines: list[dict[str, float]]) -> dict[str, str]:
    last = _newest(lines)
    shown = {
        "validation PSNR": ("validation/psnr", "{:.2f} dB"),
        "codebook usage": ("codebook/usage", "{:.1%}"),
        "perplexity": ("codebook/perplexity", "{:,.0f}"),
        "distortion": ("codebook/distortion", "{:.2g}"),
        "effective rank": ("codebook/effective_rank", "{:.1f}"),
        "loss": ("loss/total", "{:.4f}"),
    }
    return {label: form.format(last[name]) for label, (name, form) in shown.items() if name in last}
