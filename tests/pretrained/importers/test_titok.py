"""TiTok: pixels made directly, and by MaskGIT's decoder from soft codes."""

import torch
from golden_checks import check_import
from safetensors.torch import save_file

from golden_weights import golden_case


def test_tokens_latents_and_images_are_those_of_the_original(tmp_path):
    case, weights = golden_case("titok/small_vq8k")
    save_file(weights, tmp_path / "model.safetensors")
    model, config = check_import(case, tmp_path / "model.safetensors", "titok")
