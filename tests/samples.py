"""Small tokenizers and images that the tests share."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vistok.inference.token_shards.formats import format_of, open_samples
from vistok.inference.token_shards.store import LocalStore
from vistok.inference.token_shards.token_samples import StoredSample
from vistok.tokenizer.config import parse_choice
from vistok.tokenizer.model import VisualTokenizer, build_tokenizer
from vistok.tokenizer.networks.convolutional import ConvolutionalConfig
from vistok.tokenizer.quantizers import QUANTIZERS

PHOTOS = Path(__file__).parent / "photos"

ARCHITECTURE = ConvolutionalConfig.model_validate(
    {
        "stem": 4,
        "norm": "pixel",
        "resampling": "shuffle",
        "latent_channels": 8,
        "encoder": {"channels": [16, 16], "blocks": [1, 1], "middle": False},
        "decoder": {"channels": [16, 16], "blocks": [1, 1], "middle": False},
    }
)
"""An f8 autoencoder that runs in a millisecond."""


def small_tokenizer(
    quantizer: dict[str, object] | None = None, seed: int = 0, architecture: ConvolutionalConfig = ARCHITECTURE
) -> VisualTokenizer:
    torch.manual_seed(seed)
    values = quantizer or {"name": "vq", "dim": 4, "codebook_size": 300}
    model = build_tokenizer(architecture, parse_choice(QUANTIZERS, values, "quantizer"))
    for parameter in model.parameters():  # blocks that end in zeros would hide mistakes in them
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def image_bytes(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def noise_image(width: int, height: int, seed: int = 0) -> Image.Image:
    """An image of noise, so that any shift or flip shows."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def gaussian(count: int, dim: int, seed: int = 0) -> torch.Tensor:
    """Return correlated normal vectors `count dim`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator) @ torch.randn(dim, dim, generator=generator)


def stored_samples(shard: Path) -> list[StoredSample]:
    """Return the samples of a token shard, whatever its format."""
    shard_format = format_of(shard.name)
    assert shard_format is not None
    with open_samples(LocalStore(shard.parent), shard.name, shard_format) as samples:
        return [_in_memory(sample) for sample in samples]


def _in_memory(sample: StoredSample) -> StoredSample:
    tokens, metadata = sample.read_tokens(), sample.read_metadata()
    return sample._replace(read_tokens=lambda: tokens, read_metadata=lambda: metadata)
