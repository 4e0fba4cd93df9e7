"""Validation images beside their reconstructions."""

import torch
from PIL import Image
from torch import Tensor

from ..images.comparison_sheet import comparison_sheet
from ..images.preprocessing import to_images, to_pixels
from ..images.saving import save_png
from ..report.content import Comparison
from ..tokenizer.model import VisualTokenizer
from .run import Run

SAMPLES_FOLDER = "samples"
SAMPLES = 8


def write_samples(run: Run, step: int, images: list[Tensor]) -> None:
    """Write a sheet of images, uint8 `h w c`, and their reconstructions, on the main process only."""
    if run.accelerator.is_main_process:
        folder = run.config.run.out / SAMPLES_FOLDER
        pairs = [(pair.original, pair.reconstruction) for pair in comparisons(run.ema.model, images)]
        save_png(folder / f"step-{step:07d}.png", comparison_sheet(pairs))


@torch.inference_mode()
def comparisons(model: VisualTokenizer, images: list[Tensor]) -> list[Comparison]:
    """Return the first images, uint8 `h w c`, with their reconstructions."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    found = []
    for count, image in enumerate(images[:SAMPLES], 1):
        reconstruction = model(to_pixels(image.unsqueeze(0)).to(device)).pixels
        found.append(Comparison(f"image {count}", Image.fromarray(image.numpy()), to_images(reconstruction)[0]))
    model.train(was_training)
    return found
