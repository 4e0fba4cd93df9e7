"""Checkpoints with the names of golden cases and few channels, for commands on tokenizers that they are imported as."""

import json
import re

import torch

from golden_weights import GOLDEN, golden_weight

KEPT = (1, 3, 16, 17)
"""Dimensions that stay: those of kernels, patches and their positions."""
BLOCK = re.compile(r"\.(?:transformer|blocks)\.(\d+)\.")
LAYERS = 2
PATCHES = r"decoder\.ffn\.0\.(weight|bias)"
"""Makes the pixels of patches of 16 x 16 pixels, unless logits follow."""


def small_checkpoint(name):
    """Return tensors with the names of a golden case, a quarter of its channels and codes, and two transformer layers."""
    case = json.loads((GOLDEN / f"{name}.json").read_text())
    makes_pixels = "decoder.ffn.2.weight" not in case["tensors"]
    tensors = {}
    for key, shape in case["tensors"].items():
        if (block := BLOCK.search(key)) and int(block[1]) >= LAYERS:
            continue
        small = [side if side in KEPT else side // 4 for side in shape]
        if makes_pixels and re.fullmatch(PATCHES, key):
            small[0] = shape[0]
        tensors[key] = torch.from_numpy(golden_weight(key, small))
    return tensors
