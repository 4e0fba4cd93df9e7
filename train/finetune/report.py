"""The page about a fine-tuning: figures and images before and after, and the curves of its stages."""

from pathlib import Path

from ...evaluation.rows import headline_figures
from ...report import content
from ...report.codebooks import codebook_views
from ...report.page import render
from ...tokenizer.files import write_whole
from ..report import REPORT_FILE, read_logs, run_charts
from .compare import Comparison
from .kept_files import CONFIG_FILE, STAGES_FOLDER
from .prepare import Finetuning


def write_report(run: Finetuning, compared: Comparison) -> Path:
    """Write report.html and return its path."""
    out = run.config.out
    charts: list[content.Chart] = []
    notes = compared.notes
    for stage in sorted((out / STAGES_FOLDER).iterdir()):
        logs = read_logs(stage)
        notes += logs.problems
        charts += [chart._replace(title=f"{stage.name}: {chart.title}") for chart in run_charts(logs.lines)]
    before, after = compared.before, compared.after
    gain = after.measurement.quality.psnr - before.measurement.quality.psnr
    page = content.Report(
        title=out.resolve().name,
        subtitle=f"fine-tuned from {run.config.model}; {run.split.note}",
        figures={**headline_figures(after.figures()), "change of PSNR": f"{gain:+.2f} dB"},
        notes=notes,
        charts=charts,
        codebooks=codebook_views(after.loaded.model.quantizer, after.measurement.counts),
        comparisons=[
            content.Comparison(f"image {index}", original, reconstruction)
            for index, (original, reconstruction) in enumerate(after.examples, 1)
        ],
        tables={"Before and after": compared.table},
        config=(out / CONFIG_FILE).read_text(),
        environment=content.environment(),
    )
    path = out / REPORT_FILE
    write_whole(path, render(page).encode())
    return path
