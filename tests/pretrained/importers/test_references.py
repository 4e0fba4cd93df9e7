"""Imported tokenizers beside the classes of transformers and diffusers, with random weights."""

import importlib
import warnings

import pytest
import torch
from safetensors.torch import save_file

from golden_weights import golden_image
from vistok.pretrained.importers.import_checkpoint import import_checkpoint
from vistok.tokenizer.folder.save_load import load_tokenizer

SMALL = {"base_channels": 32, "latent_channels": 24, "num_res_blocks": 1}


def module_of(name):
    pytest.importorskip(name.split(".")[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


def randomized(model, seed):
    """Give a model weights that keep values near 1, so that tokens are many and far from ties."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1:
            is_table = "embedding" in name
            noise *= 0.5 if is_table else parameter[0].numel() ** -0.5
        else:
            noise = noise * 0.1 + name.endswith("weight")
        parameter.data = noise
    return model.eval().requires_grad_(False)


def images(*sizes):
    return [
        torch.from_numpy(golden_image(seed, *size)).permute(2, 0, 1)[None].float() for seed, size in enumerate(sizes)
    ]


def imported(model, tmp_path, family, prefix=""):
    save_file({f"{prefix}{name}": value for name, value in model.state_dict().items()}, tmp_path / "a.safetensors")
    found = import_checkpoint(tmp_path / "a.safetensors", tmp_path / "out").family
    assert found == family
    return load_tokenizer(tmp_path / "out").model


def check_latent(found, expected):
    torch.testing.assert_close(found, expected, atol=5e-6, rtol=1e-5)


def test_chameleon_of_transformers(tmp_path):
    """Its processor's values of pixels, and the network on a batch and on another grid."""
    chameleon = module_of("transformers.models.chameleon.modeling_chameleon")
    config = chameleon.ChameleonVQVAEConfig(**SMALL, channel_multiplier=[1, 3], embed_dim=12, num_embeddings=99)
    theirs = randomized(chameleon.ChameleonVQVAE(config), seed=1)
    ours = imported(theirs, tmp_path, "chameleon", "model.vqmodel.")
    for image in images((32, 32), (32, 48), (48, 2)):
        found = theirs.encode(image * 0.0078 - 1)
        assert torch.equal(ours.encode(image / 127.5 - 1).flatten(), found.image_tokens.flatten())
        check_latent(ours.encode_latent(image / 127.5 - 1), theirs.quant_conv(found.last_hidden_state))


def test_janus_of_transformers(tmp_path):
    """Its encode forgets to normalise, so tokens are compared by the rule of the original; its decode does not."""
    janus = module_of("transformers.models.janus.modeling_janus")
    config = janus.JanusVQVAEConfig(
        **SMALL, channel_multiplier=[1, 2, 3], embed_dim=8, num_embeddings=99, num_patches=8
    )
    theirs = randomized(janus.JanusVQVAE(config), seed=2)
    ours = imported(theirs, tmp_path, "llamagen", "model.vqmodel.")
    (image,) = images((32, 32))
    pixels = image / 127.5 - 1
    latent = theirs.quant_conv(theirs.encoder(pixels))
    check_latent(ours.encode_latent(pixels), latent)
    unit, codes = (
        torch.nn.functional.normalize(rows, dim=1)
        for rows in (latent.permute(0, 2, 3, 1).flatten(0, 2), theirs.quantize.embedding.weight)
    )
    tokens = ours.encode(pixels)
    assert torch.equal(tokens.flatten(), (unit @ codes.T).argmax(dim=1))
    decoded = ours.decode_latent(ours.quantizer.lookup(tokens))
    torch.testing.assert_close(decoded, theirs.decode(tokens.flatten(1)), atol=1e-4, rtol=0)


def test_apertus_of_transformers(tmp_path):
    apertus = module_of("transformers.models.apertus1p5.modeling_apertus1p5")
    config = apertus.Apertus1p5VisionTokenizerConfig(
        **SMALL,
        channel_multiplier=[1, 2, 3],
        embed_dim=12,
        codebook_size=99,
        attn_resolutions=[64, 128],
        resolution=256,
    )
    theirs = randomized(apertus.Apertus1p5VisionTokenizerModel(config), seed=3)
    ours = imported(theirs, tmp_path, "emu3.5", "model.vision_tokenizer.")
    for image in images((32, 32), (32, 48)):
        tokens = theirs.encode(image / 127.5 - 1).image_tokens
        assert torch.equal(ours.encode(image / 127.5 - 1).flatten(), tokens.flatten())


@pytest.mark.parametrize("with_attention", [True, False])
def test_vqmodel_of_diffusers(with_attention, tmp_path):
    """The middle with and without attention decides the range of the pixels."""
    diffusers = module_of("diffusers.models.autoencoders.vq_model")
    theirs = diffusers.VQModel(
        down_block_types=["AttnDownEncoderBlock2D"] * with_attention + ["DownEncoderBlock2D"] * (3 - with_attention),
        up_block_types=["UpDecoderBlock2D"] * (3 - with_attention) + ["AttnUpDecoderBlock2D"] * with_attention,
        block_out_channels=[32, 96, 64],
        layers_per_block=1 + with_attention,
        latent_channels=6,
        num_vq_embeddings=99,
        vq_embed_dim=5,
        mid_block_add_attention=with_attention,
    )
    theirs = randomized(theirs, seed=4)
    ours = imported(theirs, tmp_path, "diffusers")
    for image in images((32, 32), (32, 48)):
        pixels = image / 127.5 - 1 if with_attention else image / 255
        latent = theirs.encode(pixels).latents
        quantized, _, (_, _, indices) = theirs.quantize(latent)
        check_latent(ours.encode_latent(image / 127.5 - 1), latent)
        assert torch.equal(ours.encode(image / 127.5 - 1).flatten(), indices.flatten())
        decoded = theirs.decode(quantized, force_not_quantize=True).sample
        decoded = decoded if with_attention else 2 * decoded - 1
        torch.testing.assert_close(ours.decode_latent(quantized), decoded, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("frames", "blocks"), [(2, 1), (4, 2), (8, 1)])
def test_emu3_of_transformers(frames, blocks, tmp_path):
    """It repeats an image in time, and of the frames that it decodes the first is the image."""
    emu3 = module_of("transformers.models.emu3.modeling_emu3")
    config = emu3.Emu3VQVAEConfig(
        codebook_size=99,
        base_channels=32,
        channel_multiplier=[1, 3, 2],
        num_res_blocks=blocks,
        attn_resolutions=[2],
        hidden_size=64,
        temporal_downsample_factor=frames,
    )
    theirs = randomized(emu3.Emu3VQVAE(config), seed=5)
    for name, statistic in theirs.named_buffers():
        if "running" in name:
            statistic.copy_(torch.rand(statistic.shape, generator=torch.Generator().manual_seed(len(name))) + 0.5)
    ours = imported(theirs, tmp_path, "emu3", "model.vqmodel.")
    for image in images((32, 32), (32, 48)):
        pixels, sizes = image / 127.5 - 1, torch.tensor([image.shape[2:]])
        (tokens,) = theirs.encode(pixels, sizes).image_tokens
        assert torch.equal(ours.encode(pixels).flatten(), tokens.flatten())
        decoded = theirs.decode(tokens[None])
        torch.testing.assert_close(
            ours.decode_latent(ours.quantizer.lookup(tokens[None, None])), decoded, atol=1e-4, rtol=0
        )
