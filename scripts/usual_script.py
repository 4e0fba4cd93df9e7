"""What one writes first to tokenize a folder, as the scripts of published tokenizers do: for scripts/benchmark_tokenize.py.

It follows LlamaGen's `extract_codes_c2i.py` (https://github.com/FoundationVision/LlamaGen) in what decides its speed: a
DataLoader with `batch_size=1`, ADM's centre crop, float32, one `.npy` of int64 per image, and torch's default threads. The
network is vistok's own in torch's default layout: core for core, transformers' class of the same network is a little slower
(results/side_by_side.json). It writes one row per image and no labels, which is less work than that script does.
"""

import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset


class ImageFiles(Dataset[tuple[Tensor, str]]):
    """Pixels `c h w` in [-1, 1] and the name of each file."""

    def __init__(self, paths: list[Path], side: int):
        self._paths = paths
        self._side = side

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[Tensor, str]:
        image = centre_square(Image.open(self._paths[index]).convert("RGB"), self._side)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        return (pixels - 0.5) / 0.5, self._paths[index].stem


def centre_square(image: Image.Image, side: int) -> Image.Image:
    """Halve an image while it is twice too large, resize its short side and cut out the centre."""
    while min(image.size) >= 2 * side:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = side / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


@torch.no_grad()
def extract_codes(model: torch.nn.Module, paths: list[Path], side: int, out: Path, workers: int, seconds: float) -> int:
    """Encode one file after another and save the tokens of each; return how many, since it stops after some seconds."""
    out.mkdir(parents=True)
    ends, done = time.perf_counter() + seconds, 0
    images = ImageFiles(paths, side)
    # As a script's own process has it on Linux; this one was spawned, and would spawn.
    context = "fork" if workers else None
    for pixels, names in DataLoader(images, batch_size=1, num_workers=workers, multiprocessing_context=context):
        np.save(out / f"{names[0]}.npy", model.encode(pixels)[0].numpy())
        done += 1
        if time.perf_counter() > ends:
            break
    return done
