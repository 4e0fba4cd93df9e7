"""UniTok: eight codebooks between ViTamin and its reverse."""

import torch
from golden_checks import check_import

from golden_weights import golden_case


def test_tokens_latents_and_images_are_those_of_the_original(tmp_path):
    case, weights = golden_case("unitok/small_vitamin_base")
    text = {"text_encoder.token_embedding.weight": torch.ones(3, 2)}
    content = {"trainer": {"unitok": weights | text, "disc": {}}, "args": {"model": "vitamin_base", "num_codebooks": 8}}
    torch.save(content, tmp_path / "unitok_tokenizer.pth")
    check_import(case, tmp_path / "unitok_tokenizer.pth", "unitok")
