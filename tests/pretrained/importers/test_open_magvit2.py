"""Open-MAGVIT2, whose averaged weights count."""

import torch
from golden_checks import check_import

from golden_weights import golden_case

LOSS = {"loss.logvar": torch.zeros(()), "model_ema.losslogvar": torch.zeros(())}


def test_tokens_latents_and_images_are_those_of_the_averaged_weights(tmp_path):
    case, weights = golden_case("open-magvit2/small")
    torch.save({"state_dict": weights | LOSS, "epoch": 3, "callbacks": {}}, tmp_path / "imagenet_128_L.ckpt")
    model, config = check_import(case, tmp_path / "imagenet_128_L.ckpt", "open-magvit2")
    assert config.quantizer.name == "lfq" and model.quantizer.vocab_size == 1024
    assert config.preprocessing.size == 128 and config.architecture.downsample == 8
    assert config.architecture.decoder.adaptive_norm
    check_single_position(model)


def check_single_position(model):
    """The original divides by zero there."""
    tokens = model.encode(torch.rand(1, 3, 8, 8) * 2 - 1)
    assert tokens.shape == (1, 1, 1, 1) and model.decode(tokens).isfinite().all()
