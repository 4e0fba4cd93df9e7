"""Weights and images that are a pure function of their name, shape or seed, and the golden data computed from them."""

import json
import re
import zlib
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).parent / "golden"
CODEBOOK = re.compile(r"(^|\.)(embedding|embed|codebook)(\.weight)?$|embeddingweight$|embedweight$")
SHIFTS = ("bias", "beta", "running_mean")


def golden_case(name):
    """Return a case such as llamagen/small_f16, and its tensors under the names that the file has: live, averaged, ignored."""
    case = json.loads((GOLDEN / f"{name}.json").read_text())
    shapes = case["tensors"] | {key: case["tensors"][live] for key, live in case.get("averaged", {}).items()}
    rules = {key: case[key] for key in ("codebook_scale", "gains") if key in case}
    names = case.get("names", {})
    weights = {key: golden_weight(names.get(key, key), shape, **rules) for key, shape in shapes.items()}
    for key in case.get("zero", []):
        weights[key].fill(0)
    checksum = 0
    for key in sorted(weights):
        checksum = zlib.crc32(weights[key].tobytes(), checksum)
    assert checksum == case["weights_crc32"]
    ignored = {key: torch.zeros(shape) for key, shape in case["ignored"].items()}
    return case, {key: torch.from_numpy(weight) for key, weight in weights.items()} | ignored


def golden_weight(name, shape, codebook_scale=0.5, gains=None):
    """Return the float32 weight of a name and shape."""
    if not shape:
        return np.zeros((), np.float32)
    noise = np.random.Generator(np.random.Philox(zlib.crc32(name.encode()))).standard_normal(shape, np.float32)
    if len(shape) == 2 and CODEBOOK.search(name):
        return noise * np.float32(codebook_scale)
    if len(shape) >= 2:
        gain = next((factor for text, factor in (gains or {}).items() if text in name), 1.0)
        return noise * np.float32(gain / np.sqrt(np.prod(shape[1:])))
    return noise * np.float32(0.1) if name.endswith(SHIFTS) else np.float32(1) + noise * np.float32(0.1)


def golden_image(seed, height, width):
    """Return uint8 `h w c`: twelve sinusoids of random direction a channel, and noise."""
    rng = np.random.Generator(np.random.Philox(seed))
    y, x = np.mgrid[0:height, 0:width]
    waves = np.zeros((height, width, 3))
    for channel in range(3):
        for _ in range(12):
            down, right = rng.uniform(-0.12, 0.12, 2)
            phase, size = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.5)
            waves[..., channel] += size * np.sin(2 * np.pi * (down * y + right * x) + phase)
    waves += 0.15 * rng.standard_normal(waves.shape)
    return np.clip(np.rint(127.5 + 127.5 * np.tanh(waves)), 0, 255).astype(np.uint8)
