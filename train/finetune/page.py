"""The page of a fine-tuning."""

from ...evaluation.rows import headline_figures
from ...report import content
from ...report.codebooks import codebook_views
from ...report.page import render
from ...tokenizer.devices import default_device
from ...tokenizer.files import write_whole
from ..report import REPORT_FILE, read_logs, run_charts
from .compared import Comparison
from .decoder_rows import decoder_rows, stage_folders
from .prepare import Finetuning
from .stored_config import CONFIG_FILE


def write_report(run: Finetuning, compared: Comparison) -> None:
    """Write report.html: figures and images of both sides, and the curves of the stages."""
    out = run.config.out
    charts: list[content.Chart] = []
    notes, generative = [*compared.notes], run.config.generative
    for stage in stage_folders(run):
        logs = read_logs(stage)
        notes += logs.problems
        charts += [
            chart._replace(title=f"{stage.name}: {chart.title}")
            for chart in run_charts(logs.lines, generative is not None)
        ]
    before, after = compared.before, compared.after
    page = content.Report(
        title=out.resolve().name,
        subtitle=f"fine-tuned from {run.config.model}; {run.split}",
        figures={
            **headline_figures(after.figures),
            "change of PSNR": f"{after.figures['psnr'] - before.figures['psnr']:+.2f} dB",
        },
        notes=notes,
        charts=charts,
        codebooks=[] if after.counts is None else codebook_views(after.loaded.model.quantizer, after.counts),
        comparisons=[] if generative else after.examples,
        image_rows=decoder_rows(run, generative, before.examples, after.examples) if generative else {},
        tables={"Plain and new decoder" if generative else "Before and after": compared.table},
        config=(out / CONFIG_FILE).read_text(),
        environment=content.environment(default_device()),
    )
    write_whole(out / REPORT_FILE, render(page).encode())
