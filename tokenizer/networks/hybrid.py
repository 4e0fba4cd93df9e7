"""Networks that are convolutional at fine grids and transformers at the coarsest: ViTamin (arXiv 2404.02132).

Positions have no embedding, so images may have any size: the convolutions' borders and order tell where a position is. UniTok
(arXiv 2502.20321) has ViTamin as its encoder, and the same in reverse as its decoder.
"""

from typing import Annotated, Literal

from einops import rearrange
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from ..config import Config
from ..shapes import Latent, Pixels
from .attention_projection import Projection, build_projection
from .base import ArchitectureConfig, Channels, Decoder, Encoder
from .blocks import in_float32, kernels_except
from .convolutional import COLOURS
from .inverted_bottleneck import Stem, build_stages, doubled
from .levels import MAX_LEVELS, Blocks
from .norms import LayerNorm, Norm
from .transformer import TransformerConfig, build_blocks

OUTER = ("stem.conv1.weight", "conv_out.weight")
"""The first layer of the encoder and the last of the decoder."""


class HybridStackConfig(Config):
    """One side of the autoencoder."""

    channels: Annotated[list[Channels], Field(min_length=1, max_length=MAX_LEVELS)]
    """Width of each convolutional stage, finest first; the finest has a quarter of the image's sides."""
    blocks: Annotated[list[Blocks], Field(min_length=1, max_length=MAX_LEVELS)]
    """Inverted bottlenecks of each stage, finest first."""
    transformer: TransformerConfig
    """Blocks at the coarsest grid, which has half the sides of the last stage."""

    @model_validator(mode="after")
    def _stages_agree(self) -> "HybridStackConfig":
        if len(self.blocks) != len(self.channels):
            raise ValueError(
                f"blocks has {len(self.blocks)} stages but channels has {len(self.channels)}: give one number per stage."
            )
        return self


class HybridConfig(ArchitectureConfig):
    """Shape of a hybrid autoencoder; its grid is 2 ** (stages + 2) times smaller than the image."""

    name: Literal["hybrid"] = "hybrid"
    """Family of the networks: hybrid."""
    encoder: HybridStackConfig
    """Convolutional stages, then a transformer."""
    decoder: HybridStackConfig
    """The same in reverse: a transformer, then convolutional stages, given finest first."""
    projection: Projection = "linear"
    """What makes the latent of the encoder's last vectors, and the decoder's first of the latent: a linear layer, or attention
    whose heads have latent_channels, of which the widths must be multiples."""

    @model_validator(mode="after")
    def _sides_agree(self) -> "HybridConfig":
        if len(self.encoder.channels) != len(self.decoder.channels):
            raise ValueError(
                f"encoder has {len(self.encoder.channels)} stages but decoder has {len(self.decoder.channels)}: "
                "give both the same number."
            )
        for side in (self.encoder, self.decoder):
            small, large = sorted([side.transformer.width, self.latent_channels])
            if self.projection == "attention" and large % small:
                raise ValueError(
                    f"latent_channels is {self.latent_channels} and a width {side.transformer.width}, but with projection "
                    "'attention' one must be a multiple of the other: change one of them, or use 'linear'."
                )
        return self

    @property
    def downsample(self) -> int:
        return 2 ** (len(self.encoder.channels) + 2)

    def latent_grid(self, height: int, width: int) -> tuple[int, int]:
        return height // self.downsample, width // self.downsample

    def build_encoder(self) -> "HybridEncoder":
        return HybridEncoder(self)

    def build_decoder(self) -> "HybridDecoder":
        return HybridDecoder(self)


class HybridEncoder(Encoder):
    """Convolutional stages, then a transformer."""

    def __init__(self, config: HybridConfig):
        super().__init__()
        stack, blocks = config.encoder, config.encoder.transformer
        widths = [stack.channels[0], *stack.channels]
        self.stem = Stem(widths[0])
        self.stages = build_stages(widths, stack.blocks, "down")
        self.norm_stages = Norm(widths[-1], "pixel")
        self.to_vectors = nn.Conv2d(widths[-1], blocks.width, 3, stride=2, padding=1)
        self.blocks = build_blocks(blocks)
        self.norm_blocks = LayerNorm(blocks.width, eps=blocks.epsilon)
        self.projection = build_projection(config.projection, blocks.width, config.latent_channels, blocks.gelu)

    def forward(self, pixels: Pixels) -> Latent:
        x = self.to_vectors(self.norm_stages(self.stages(self.stem(pixels))))
        vectors = self.norm_blocks(self.blocks(rearrange(x, "b d y x -> b (y x) d")))
        return rearrange(self.projection(vectors), "b (y x) d -> b d y x", y=x.shape[2])

    def hidden_matrices(self) -> list[str]:
        return _hidden_kernels(self)


class HybridDecoder(Decoder):
    """A transformer, then convolutional stages."""

    traced = "features"

    def __init__(self, config: HybridConfig):
        super().__init__()
        stack, blocks = config.decoder, config.decoder.transformer
        coarsest, finest = stack.channels[-1], stack.channels[0]
        widths = [coarsest, *reversed(stack.channels)]
        self.projection = build_projection(config.projection, config.latent_channels, blocks.width, blocks.gelu)
        self.blocks = build_blocks(blocks)
        self.norm_blocks = LayerNorm(blocks.width, eps=blocks.epsilon)
        self.from_vectors = doubled(blocks.width, coarsest)
        self.stages = build_stages(widths, stack.blocks[::-1], "up")
        self.up_out = doubled(finest, finest)
        self.norm_out = Norm(finest, "pixel")
        self.conv_out = nn.Conv2d(finest, COLOURS, 3, padding=1)

    def forward(self, latent: Latent) -> Pixels:
        return in_float32(self.conv_out, self.features(latent))

    def features(self, latent: Latent) -> Tensor:
        """Return what the last layer gets."""
        vectors = self.blocks(self.projection(rearrange(latent, "b d y x -> b (y x) d")))
        x = rearrange(self.norm_blocks(vectors), "b (y x) d -> b d y x", y=latent.shape[2])
        x = self.up_out(self.stages(self.from_vectors(x)))
        return functional.gelu(self.norm_out(x))

    def hidden_matrices(self) -> list[str]:
        return _hidden_kernels(self)

    @property
    def last_layer(self) -> nn.Parameter:
        return self.get_parameter("conv_out.weight")


def _hidden_kernels(network: nn.Module) -> list[str]:
    """Return all matrices and kernels but those of depthwise convolutions, which are no matrices, and of the outer layers."""
    depthwise = {
        f"{name}.weight" for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d) and layer.groups > 1
    }
    return kernels_except(network, *depthwise, *OUTER)
