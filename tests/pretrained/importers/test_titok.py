"""TiTok: pixels made directly, and by MaskGIT's decoder from soft codes."""

import pytest
from golden_checks import check_import
from safetensors.torch import save_file

from golden_weights import golden_case


@pytest.mark.parametrize("name", ["titok/small_vq8k", "titok/small_legacy"])
def test_tokens_latents_and_images_are_those_of_the_original(name, tmp_path):
    case, weights = golden_case(name)
    save_file(weights, tmp_path / "model.safetensors")
    model, config = check_import(case, tmp_path / "model.safetensors", "titok")
