"""Validation images beside what a run makes of them: on sheets, and over time in the report."""

from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image

from ..images.preprocessing import to_images, to_pixels
from ..images.saving import comparison_sheet, save_png, scaled_down
from ..report.content import ImageRow
from ..tokenizer.decoders.base import PLAIN
from .run import Run
from .validation import Validation, reconstruct

SAMPLES_FOLDER = "samples"
SAMPLES = 8
"""Images in the report and on a sheet."""
SEEDS = (0, 1)
"""Seeds of the samples of an extra decoder."""
IN_TIME = 2
"""Images whose samples are kept for each validation, with the first seed."""
MOMENTS = 5
"""Validations in the report, evenly spaced over the run."""
RECONSTRUCTION = "reconstruction"


@torch.inference_mode()
def sample_rows(run: Run, validation: Validation) -> list[ImageRow]:
    """Return validation images beside their reconstructions by the EMA weights; of an extra decoder, from two seeds."""
    ways = {RECONSTRUCTION: (PLAIN, 0)}
    if name := run.decoder_name:
        ways = {PLAIN: (PLAIN, 0)} | {f"seed {seed}": (name, seed) for seed in SEEDS}
    rows = []
    for count, image in enumerate(validation.samples(SAMPLES), 1):
        pixels = to_pixels(image.unsqueeze(0)).to(run.accelerator.device)
        made = {caption: to_images(reconstruct(run.ema.model, pixels, *way))[0] for caption, way in ways.items()}
        rows.append(ImageRow(f"image {count}", Image.fromarray(image.numpy()), made))
    return rows


def write_samples(run: Run, step: int, validation: Validation) -> None:
    """Write a sheet of validation images and their reconstructions, on the main process only.

    Some samples of an extra decoder are kept one by one, for the report.
    """
    if not run.accelerator.is_main_process:
        return
    folder, name = run.config.run.out / SAMPLES_FOLDER, f"step-{step:07d}.png"
    rows = sample_rows(run, validation)
    save_png(folder / name, comparison_sheet([[row.original, *row.reconstructions.values()] for row in rows]))
    if run.decoder_name:
        for row in rows[:IN_TIME]:
            kept = folder / row.label.replace(" ", "-")
            save_png(kept / name, scaled_down(row.reconstructions[f"seed {SEEDS[0]}"]))
            if not (kept / "original.png").exists():
                save_png(kept / "original.png", scaled_down(row.original))


def rows_in_time(out: Path) -> list[ImageRow]:
    """Return the images whose samples were kept, each beside those of some validations from the first to the last."""
    rows = []
    for folder in sorted(path for path in (out / SAMPLES_FOLDER).glob("image-*") if path.is_dir()):
        steps = sorted(folder.glob("step-*.png"))
        chosen = (
            {steps[round(index * (len(steps) - 1) / (MOMENTS - 1))] for index in range(MOMENTS)} if steps else set()
        )
        made: Mapping[str, Image.Image] = {f"step {int(path.stem[5:])}": _read(path) for path in sorted(chosen)}
        if made and (folder / "original.png").exists():
            rows.append(ImageRow(folder.name.replace("-", " "), _read(folder / "original.png"), made))
    return rows


def _read(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")
