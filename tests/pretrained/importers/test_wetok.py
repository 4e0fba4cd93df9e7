"""WeTok: groups of signs."""

import torch
from golden_checks import check_import

from golden_weights import golden_case


def test_tokens_latents_and_images_are_those_of_the_averaged_weights(tmp_path):
    case, weights = golden_case("wetok/small")
    for given in case["inputs"]:  # y x q in the original, q y x here
        tokens = torch.tensor(given["tokens"]).reshape(given["tokens_shape"])
        given["tokens"] = tokens.permute(2, 0, 1).flatten().tolist()
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / "a.ckpt")
    model, config = check_import(case, tmp_path / "a.ckpt", "wetok")
    assert model.quantizer.num_codebooks == config.quantizer.groups == 2 and model.quantizer.vocab_size == 256
