"""The VQGAN of open-muse: taming's names, no attention, pixels in [0, 1]."""

import json

from golden_checks import check_import
from safetensors.torch import save_file

from golden_weights import golden_case
from vistok.pretrained.importers.base import Shapes
from vistok.pretrained.importers.muse import MUSE


def test_tokens_latents_and_images_are_those_of_the_original(tmp_path):
    case, weights = golden_case("muse/small")
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "VQGANModel", **case["hyperparameters"]}))
    _, config = check_import(case, tmp_path / "model.safetensors", "muse")
    assert config.architecture.pixel_values == (0, 1) and not config.architecture.encoder.middle_attention


def test_a_single_attention_block_in_a_level_is_not_used_as_in_the_original():
    """It is left over, so that such a checkpoint is refused."""
    _, weights = golden_case("muse/small")
    shapes = Shapes({name: tuple(weight.shape) for name, weight in weights.items()})
    assert MUSE.config(with_attention(shapes, 1), {}).architecture.encoder.attention == []
    assert MUSE.config(with_attention(shapes, 2), {}).architecture.encoder.attention == [3]


def with_attention(shapes, count):
    return Shapes(shapes | {f"encoder.down.3.attn.{index}.proj_out.weight": (96, 96, 1, 1) for index in range(count)})
