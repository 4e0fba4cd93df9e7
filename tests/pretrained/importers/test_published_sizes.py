"""Published sizes of the networks without attention: the layout has as many weights as published, and fits."""

import math

import pytest
import torch
from magvit_layout import magvit_shapes, maskgit_shapes

from vistok.pretrained.importers.checkpoint import Checkpoint
from vistok.pretrained.importers.fit import problem
from vistok.pretrained.importers.layout import layouts
from vistok.pretrained.importers.table import IMPORTERS

FIVE, FOUR = [128, 128, 256, 256, 512], [128, 256, 256, 512]
WIDE = [256, 256, 512, 512, 1024]
PROJECTED = {
    "quantize.embedding.weight": (1024, 128),
    "quantize.embedding_proj.weight": (128, 128),
    "quantize.embedding_proj.bias": (128,),
}


def found_in(shapes):
    tensors = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    (layout,) = [each for each in layouts(IMPORTERS, Checkpoint(tensors, {})) if each.is_recognised()]
    assert problem(layout, {}) is None
    return layout.family, layout.importer.config(layout.shapes, {})


@pytest.mark.parametrize(
    ("shapes", "keys", "millions", "family", "side", "size"),
    [
        (magvit_shapes(FIVE, 4, 18), 339, 115.1, "open-magvit2", 16, 256),
        (magvit_shapes(FOUR, 4, 18), 283, 112.0, "open-magvit2", 8, 128),
        (magvit_shapes(WIDE, 4, 32), 339, 460.3, "wetok", 16, 256),
        (magvit_shapes(FOUR, 2, 128, is_adaptive=False) | PROJECTED, 150, 64.3, "simvq", 8, 128),
        (maskgit_shapes(FIVE, 2, 256, 1024), 168, 54.5, "maskgit", 16, 256),
    ],
)
def test_layouts_of_the_published_sizes_fit(shapes, keys, millions, family, side, size):
    assert len(shapes) == keys and round(sum(map(math.prod, shapes.values())) / 1e6, 1) == millions
    found, config = found_in(shapes)
    assert found == family and config.architecture.downsample == side and config.preprocessing.size == size


@pytest.mark.parametrize("is_adaptive", [True, False])
@pytest.mark.parametrize("channels", [[32], [64, 32, 96]])
@pytest.mark.parametrize("blocks", [1, 3])
def test_levels_blocks_and_norms_follow_from_the_names(channels, blocks, is_adaptive):
    family, config = found_in(magvit_shapes(channels, blocks, 5, is_adaptive))
    architecture = config.architecture
    assert family == "open-magvit2" and architecture.latent_channels == config.quantizer.dim == 5
    for stack in (architecture.encoder, architecture.decoder):
        assert stack.channels == channels and stack.blocks == [blocks] * len(channels)
        assert stack.middle_blocks == blocks and not stack.attention and not stack.middle_attention
    assert architecture.decoder.adaptive_norm == is_adaptive


def test_a_cut_checkpoint_is_none():
    tensors = {name: torch.empty(shape, device="meta") for name, shape in magvit_shapes(FOUR, 1, 18).items()}
    del tensors["encoder.conv_out.weight"]
    assert not [each for each in layouts(IMPORTERS, Checkpoint(tensors, {})) if each.is_recognised()]
