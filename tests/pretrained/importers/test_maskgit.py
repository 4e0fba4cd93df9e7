"""The VQGAN of MaskGIT."""

import torch
from golden_checks import check_import

from golden_weights import golden_case


def test_tokens_latents_and_images_are_those_of_the_original(tmp_path):
    case, weights = golden_case("maskgit/small")
    torch.save(weights, tmp_path / "maskgit-vqgan-imagenet-f16-256.bin")
    _, config = check_import(case, tmp_path / "maskgit-vqgan-imagenet-f16-256.bin", "maskgit")
    assert config.architecture.pixel_values == (0, 1) and config.quantizer.similarity == "euclidean"
