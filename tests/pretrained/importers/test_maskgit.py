"""The VQGAN of MaskGIT."""

import torch
from golden_checks import check_decoded, check_import

from golden_weights import golden_case
from vistok.pretrained.importers.base import Shapes
from vistok.pretrained.importers.maskgit import TRANSLATION
from vistok.tokenizer.networks.convolutional import ConvolutionalConfig


def test_tokens_latents_and_images_are_those_of_the_original(tmp_path):
    case, weights = golden_case("maskgit/small")
    torch.save(weights, tmp_path / "maskgit-vqgan-imagenet-f16-256.bin")
    _, config = check_import(case, tmp_path / "maskgit-vqgan-imagenet-f16-256.bin", "maskgit")
    assert config.architecture.pixel_values == (0, 1) and config.quantizer.similarity == "euclidean"


def test_its_decoder_stands_alone_and_takes_any_latent():
    """TiTok decodes mixtures of codes with it."""
    case, weights = golden_case("maskgit/small")
    tensors = {name: tensor for name, tensor in weights.items() if name.startswith("decoder.")}
    shapes = Shapes({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    stack = TRANSLATION.stack("decoder", shapes)
    architecture = ConvolutionalConfig.model_validate(
        {"encoder": stack, "decoder": stack, "latent_channels": 48, **TRANSLATION.options}
    )
    decoder = architecture.build_decoder()
    names = [f"decoder.{name}" for name in decoder.state_dict()]
    found = TRANSLATION.tensors(architecture, names, tensors.pop)
    assert not tensors
    decoder.load_state_dict({name.removeprefix("decoder."): tensor for name, tensor in found.items()})
    given = case["inputs"][1]
    one_hot = torch.nn.functional.one_hot(torch.tensor(given["tokens"]).reshape(given["tokens_shape"]), 512).float()
    latent = torch.einsum("yxk,kd->dyx", one_hot, weights["quantize.embedding.weight"])[None]
    with torch.no_grad():
        check_decoded(decoder(latent), given["decoded"], (-1, 1))
