"""Networks of public tokenizers that a package on the index has, at the size that their publishers give."""

from collections.abc import Mapping
from typing import Any, NamedTuple

HUB = "https://huggingface.co"


class Reference(NamedTuple):
    """A class of another package, and how the publisher configures it."""

    family: str
    """What import-tokenizer must recognise."""
    package: str
    module: str
    """Where the package has the class."""
    name: str
    """Its class."""
    config: Mapping[str, Any]
    config_from: str
    """URL of the config."""
    size: int
    """Sides of the images, in pixels."""
    size_from: str
    """URL of what says so."""
    downsample: int
    """Pixels along one side of a token."""
    seed: int
    """Of the weights."""


def _vqmodel(channels: list[int], **others: Any) -> dict[str, Any]:
    """Return a config of a VQModel without attention in its levels."""
    return {
        "block_out_channels": channels,
        "down_block_types": ["DownEncoderBlock2D"] * len(channels),
        "up_block_types": ["UpDecoderBlock2D"] * len(channels),
        "layers_per_block": 2,
        "num_vq_embeddings": 8192,
        **others,
    }


REFERENCES = {
    "chameleon": Reference(
        "chameleon",
        "transformers",
        "transformers.models.chameleon.modeling_chameleon",
        "ChameleonVQVAE",
        {
            "resolution": 512,
            "base_channels": 128,
            "channel_multiplier": [1, 1, 2, 2, 4],
            "num_res_blocks": 2,
            "attn_resolutions": [],
            "latent_channels": 256,
            "embed_dim": 256,
            "num_embeddings": 8192,
        },
        # Anole's copy of it, since Chameleon's own repository is gated
        f"{HUB}/leloy/Anole-7b-v0.1-vqvae-hf/blob/main/config.json",
        512,
        "https://github.com/facebookresearch/chameleon/blob/main/chameleon/inference/image_tokenizer.py",
        16,
        seed=11,
    ),
    "janus-pro": Reference(
        "llamagen",
        "transformers",
        "transformers.models.janus.modeling_janus",
        "JanusVQVAE",
        {
            "base_channels": 128,
            "channel_multiplier": [1, 1, 2, 2, 4],
            "num_res_blocks": 2,
            "latent_channels": 256,
            "embed_dim": 8,
            "num_embeddings": 16384,
        },
        # gen_vision_config is VQ-16 with 16,384 codes of 8 dimensions, in a copy of Janus-Pro-7B; VQ-16 is in janus/models
        f"{HUB}/cyan2k/Janus-Pro-7B-bnb-4bit/blob/main/config.json",
        384,
        "https://github.com/deepseek-ai/Janus/blob/main/generation_inference.py",
        16,
        seed=12,
    ),
    "emu3": Reference(
        "emu3",
        "transformers",
        "transformers.models.emu3.modeling_emu3",
        "Emu3VQVAE",
        {
            "codebook_size": 32768,
            "embed_dim": 4,
            "latent_channels": 4,
            "base_channels": 256,
            "channel_multiplier": [1, 2, 2, 4],
            "num_res_blocks": 2,
            "attn_resolutions": [3],
            "temporal_downsample_factor": 4,
        },
        f"{HUB}/BAAI/Emu3-VisionTokenizer/blob/main/config.json",
        512,  # the smallest area that its processor gives
        "https://github.com/baaivision/Emu3/blob/main/emu3/tokenizer/image_processing_emu3visionvq.py",
        8,
        seed=13,
    ),
    "emu3.5": Reference(
        "emu3.5",
        "transformers",
        "transformers.models.apertus1p5.modeling_apertus1p5",
        "Apertus1p5VisionTokenizerModel",
        {
            "resolution": 256,
            "base_channels": 256,
            "channel_multiplier": [1, 1, 2, 2, 4],
            "num_res_blocks": 4,
            "attn_resolutions": [16],
            "latent_channels": 256,
            "embed_dim": 256,
            "codebook_size": 131072,
        },
        f"{HUB}/BAAI/Emu3.5-VisionTokenizer/blob/main/config.yaml",
        512,  # the area of smart_resize
        "https://github.com/baaivision/Emu3.5/blob/main/src/utils/input_utils.py",
        16,
        seed=14,
    ),
    "amused-512": Reference(
        "diffusers",
        "diffusers",
        "diffusers",
        "VQModel",
        _vqmodel(
            [128, 256, 256, 512, 768],
            latent_channels=64,
            mid_block_add_attention=False,
            lookup_from_codebook=True,
            force_upcast=True,
        ),
        f"{HUB}/amused/amused-512/blob/main/vqvae/config.json",
        512,
        f"{HUB}/amused/amused-512",
        16,
        seed=15,
    ),
    "ldm-celebahq-256": Reference(
        "diffusers",
        "diffusers",
        "diffusers",
        "VQModel",
        _vqmodel([128, 256, 512], latent_channels=3, sample_size=256, scaling_factor=1.0),
        f"{HUB}/CompVis/ldm-celebahq-256/blob/refs%2Fpr%2F5/vqvae/config.json",
        256,
        f"{HUB}/CompVis/ldm-celebahq-256/blob/refs%2Fpr%2F5/vqvae/config.json",
        4,
        seed=16,
    ),
}
"""References by the public name of the checkpoint. Lumina-DiMOO's vqvae/config.json was not found, so it is not among them."""
