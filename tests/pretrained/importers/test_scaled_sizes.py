"""Published sizes of Cosmos, VAR and Emu3, as the golden cases with other widths: as many weights as published, and all fit."""

import json
import math

import pytest
import torch

from golden_weights import GOLDEN
from vistok.pretrained.importers.checkpoint import Checkpoint
from vistok.pretrained.importers.fit import problem
from vistok.pretrained.importers.layout import layouts
from vistok.pretrained.importers.table import IMPORTERS

COSMOS = {32: 128, 64: 256, 128: 512}
VAR = {32: 160, 64: 320, 128: 640, 384: 1920, 16: 32, 512: 4096, 6: 10}
EMU3 = {32: 256, 64: 512, 128: 1024, 512: 32768}


@pytest.mark.parametrize(
    ("name", "widths", "left_out", "millions", "channels", "latent"),
    [
        ("cosmos/small_di16", COSMOS, None, 83.7, [256, 512, 512], 256),
        (
            "cosmos/small_di8",
            COSMOS,
            "down.0.attn",
            79.0,
            [256, 512, 512],
            256,
        ),  # at 1024 pixels no level has attention
        ("var/small", VAR, None, 108.9, [160, 160, 320, 320, 640], 32),
        ("emu3/small", EMU3, None, 270.7, [256, 512, 512, 1024], 4),
    ],
)
def test_layouts_of_the_published_sizes_fit(name, widths, left_out, millions, channels, latent):
    case = json.loads((GOLDEN / f"{name}.json").read_text())
    tensors = {
        key: torch.empty([widths.get(size, size) for size in shape], device="meta")
        for key, shape in (case["tensors"] | case["ignored"]).items()
        if left_out is None or left_out not in key
    }
    trained = [tensor for key, tensor in tensors.items() if not key.endswith(("_SV", "running_mean", "running_var"))]
    assert round(sum(math.prod(tensor.shape) for tensor in trained) / 1e6, 1) == millions
    (layout,) = [each for each in layouts(IMPORTERS, Checkpoint(tensors, {})) if each.is_recognised()]
    assert layout.family == name.split("/")[0] and problem(layout, {}) is None
    architecture = layout.importer.config(layout.shapes, {}).architecture
    assert architecture.encoder.channels == architecture.decoder.channels == channels
    assert architecture.latent_channels == latent
