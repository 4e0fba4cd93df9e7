"""A reference and what vistok imports of it, on the same images: tokens, latents, decoded images, time and memory."""

import importlib.metadata
import platform
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import vistok
from vistok.pretrained.importers.import_checkpoint import import_checkpoint

from .classes import Original, original
from .published import Reference
from .timing import alternate, timing
from .weights import randomize, spread_codes

ROUNDING = 16 * torch.finfo(torch.float32).eps
"""Of a distance, relative to the largest of its terms."""
SAME = 1e-4
"""How far apart rounding may leave the numbers of two latents, whose deviation is near 1."""


@torch.no_grad()
def measure(reference: Reference, size: int, photos: list[Path], folder: Path, seconds: float) -> dict[str, Any]:
    """Return the row of a reference. Rounds end after `seconds`, but not before the first."""
    images = [read_square(path, size) for path in photos]
    found = original(reference, size)
    randomize(found, reference.seed)
    batches = [found.pixels(image) for image in images]
    part = min(size, max(size // 4, 8 * reference.downsample))  # enough for their deviation
    spread_codes(found, found.pixels(read_square(photos[0], part)))
    (folder / "checkpoint").mkdir()
    start = time.perf_counter()
    imported = import_checkpoint(found.save(folder / "checkpoint"), folder / "tokenizer")
    importing = time.perf_counter() - start
    if imported.family != reference.family:
        raise ValueError(f"its checkpoint was imported as {imported.family}")
    tokenizer = vistok.load(folder / "tokenizer", device="cpu")
    if size == reference.size and tokenizer.grid(size, size) != (size // reference.downsample,) * 2:
        raise ValueError(f"its folder gives a grid of {tokenizer.grid(size, size)} for the published size")
    tokenizer.encode(read_square(photos[0], part))  # warms up, as the reference is
    end = time.perf_counter() + seconds
    latents: list[Tensor] = []

    def encode() -> Tensor:
        results = [found.latents_and_tokens(pixels) for pixels in batches]
        latents[:] = [latent for latent, _ in results]
        return torch.cat([tokens for _, tokens in results])

    encoded = alternate(encode, lambda: tokenizer.encode(torch.cat(images)), end)
    theirs, ours = encoded["results"]
    row = {
        "parameters": sum(parameter.numel() for parameter in found.model.parameters()),
        "images": len(images),
        "import_seconds": round(importing, 1),
        "fingerprint": tokenizer.fingerprint,
        **compared(found, tokenizer, images, latents, theirs, ours[:, 0]),
        "encode": timing(encoded, len(images)),
    }
    if found.has_decoder:
        decoded = alternate(
            lambda: torch.cat([found.decode(each) for each in theirs.split(1)]),
            lambda: tokenizer.decode(theirs[:, None], output="tensor"),
            end,
        )
        expected, pixels = decoded["results"][0], 2 * decoded["results"][1] - 1
        row["clamped"] = round((expected.abs() > 1).float().mean().item(), 4)
        row["pixels"] = (pixels - expected.clamp(-1, 1)).abs().max().item()
        row["decode"] = timing(decoded, len(images))
    row["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return row | {"versions": versions(reference), "threads": torch.get_num_threads(), "processor": processor()}


def read_square(path: Path, size: int) -> Tensor:
    """Return the central square of an image file, uint8 `1 c h w` of sides `size`."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    side = min(image.size)
    left, top = ((extent - side) // 2 for extent in image.size)
    square = image.resize((size, size), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
    return torch.from_numpy(np.array(square)).permute(2, 0, 1)[None]


def compared(
    found: Original,
    tokenizer: vistok.Tokenizer,
    images: list[Tensor],
    latents: list[Tensor],
    theirs: Tensor,
    ours: Tensor,
) -> dict[str, Any]:
    """Count the tokens that differ, and those whose two codes are equally good but for rounding."""
    differ, rounding, largest = 0, 0, 0.0
    for image, latent, expected, got in zip(images, latents, theirs, ours, strict=True):
        pixels = (image.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        own = tokenizer.model.encode_latent(pixels)
        largest = max(largest, (own - latent).abs().max().item())
        where = expected != got
        differ += int(where.sum())
        rows, own_rows = (each[0].permute(1, 2, 0)[where] for each in (latent, own))
        rounding += int(within_rounding(found, rows, own_rows, expected[where], got[where]).sum())
    return {
        "tokens": theirs.numel(),
        "codes_used": len(theirs.unique()),
        "differ": differ,
        "differ_by_rounding": rounding,
        "latent": largest,
        "latent_deviation": round(torch.cat(latents).std().item(), 2),
    }


def within_rounding(found: Original, latents: Tensor, own: Tensor, theirs: Tensor, ours: Tensor) -> Tensor:
    """Say of each latent `n d` whether the margin between its two codes, in float64, is below what rounding explains.

    That is float32's rounding of a distance, and the change of the margin from the reference's latents to vistok's, which
    themselves may differ by rounding alone.
    """
    rows, change = latents.double(), own.double() - latents.double()
    one, other = found.codebook[theirs].double(), found.codebook[ours].double()
    if found.is_dot_product:
        margin = (rows * (one - other)).sum(1).abs()
        moved = (change * (one - other)).sum(1).abs()
        scale = rows.norm(dim=1) * torch.maximum(one.norm(dim=1), other.norm(dim=1))
    else:
        margin = ((rows - one).square().sum(1) - (rows - other).square().sum(1)).abs()
        moved = 2 * (change * (one - other)).sum(1).abs()
        scale = rows.square().sum(1) + torch.maximum(one.square().sum(1), other.square().sum(1))
    return (margin <= ROUNDING * scale + moved) & (change.abs().amax(dim=1) <= SAME)


def versions(reference: Reference) -> dict[str, str]:
    """Return the versions of what was compared."""
    return {name: importlib.metadata.version(name) for name in (reference.package, "torch")} | {
        "vistok": vistok.__version__
    }


def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
