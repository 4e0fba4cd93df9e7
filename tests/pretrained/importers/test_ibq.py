"""IBQ of SEED-Voken, whose averaged weights count."""

import torch
from golden_checks import check_import

from golden_weights import golden_case

LOSS = {"loss.logvar": torch.zeros(()), "model_ema.losslogvar": torch.zeros(())}


def test_tokens_latents_and_images_are_those_of_the_averaged_weights(tmp_path):
    case, weights = golden_case("ibq/small")
    torch.save({"state_dict": weights | LOSS, "epoch": 3, "callbacks": {}}, tmp_path / "imagenet256_1024.ckpt")
    model, config = check_import(case, tmp_path / "imagenet256_1024.ckpt", "ibq")
    assert config.quantizer.similarity == "dot"
    assert torch.equal(model.encoder.conv_in.weight, weights["model_ema.encoderconv_inweight"])
