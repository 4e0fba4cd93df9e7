"""What measurements encode and decode with: equal in every bit to the Python API, and to each image alone."""

import pytest
import torch

import vistok
from decoder_cases import SMALL, saved_folder, some_tokens
from samples import small_tokenizer
from vistok.evaluation.exact_coding import exact_decoder, exact_encoder
from vistok.tokenizer.exact_model import placed
from vistok.tokenizer.folder.decoders import load_decoders
from vistok.tokenizer.folder.save_load import load_tokenizer


def test_exact_tokens_are_those_of_each_image_alone():
    model = small_tokenizer().eval().to(memory_format=torch.channels_last)
    pixels = torch.rand(5, 3, 32, 48) * 2 - 1
    with torch.no_grad():
        alone = torch.cat(
            [model.encode(image.contiguous(memory_format=torch.channels_last)) for image in pixels.split(1)]
        )
    exact = exact_encoder(model)
    assert torch.equal(exact(pixels), alone) and torch.equal(exact(pixels[3:]), alone[3:])


@pytest.mark.parametrize("kind", SMALL)
def test_a_model_that_is_placed_decodes_as_the_api_does(kind, tmp_path):
    folder = saved_folder(tmp_path / "a", kind=kind)
    model = load_tokenizer(folder).model
    load_decoders(folder, model)
    tokenizer, tokens = vistok.load(folder, device="cpu"), some_tokens(model, (3, 5), count=3)
    placed(model, torch.device("cpu"))
    for decoder, seed in (("plain", 0), ("generative", 0), ("generative", 9)):
        pixels = exact_decoder(model, decoder)(tokens, seed)
        assert torch.equal((pixels + 1) / 2, tokenizer.decode(tokens, "tensor", decoder=decoder, seed=seed))
        assert pixels.abs().max() <= 1 and pixels.std() > 0.01
    with pytest.raises(
        ValueError, match="decoder is 'fancy', but this tokenizer has plain, generative: give one of these"
    ):
        exact_decoder(model, "fancy")(tokens, 0)
