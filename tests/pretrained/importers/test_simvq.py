"""SimVQ: codes that are projected at import."""

import torch
from golden_checks import check_import

from golden_weights import golden_case


def test_tokens_latents_and_images_are_those_of_the_averaged_weights_and_the_live_table(tmp_path):
    case, weights = golden_case("simvq/small")
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / "a.ckpt")
    model, config = check_import(case, tmp_path / "a.ckpt", "simvq")
    assert config.quantizer.name == "vq" and not config.architecture.decoder.adaptive_norm
    averaged = "model_ema.quantizeembedding_proj"
    codes = torch.nn.functional.linear(
        weights["quantize.embedding.weight"], weights[f"{averaged}weight"], weights[f"{averaged}bias"]
    )
    torch.testing.assert_close(model.quantizer.lookup(torch.arange(512)[None, None, None])[0, :, 0].T, codes)
