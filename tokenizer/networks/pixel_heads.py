"""From the last vectors of a transformer, on their grid, to pixels."""

import torch
from einops import rearrange
from einops.layers.torch import Rearrange
from torch import Tensor, nn

from ..shapes import Pixels
from .blocks import in_float32
from .convolutional import COLOURS, ConvolutionalConfig, ConvolutionalDecoder
from .transformer import matrices


class PatchPixels(nn.Module):
    """Each vector makes the pixels of its patch; a 3 x 3 convolution smooths the seams."""

    def __init__(self, width: int, patch: int):
        super().__init__()
        self.to_patches = nn.Conv2d(width, COLOURS * patch**2, 1)
        self.unfold = Rearrange("b (down right c) y x -> b c (y down) (x right)", down=patch, right=patch)
        self.conv_out = nn.Conv2d(COLOURS, COLOURS, 3, padding=1)

    def features(self, x: Tensor) -> Tensor:
        """Return what the last layer gets."""
        return self.unfold(self.to_patches(x))

    def forward(self, features: Tensor) -> Pixels:
        """Apply the last layer."""
        return in_float32(self.conv_out, features)

    def hidden_matrices(self) -> list[str]:
        return []

    @property
    def last_layer(self) -> nn.Parameter:
        return self.get_parameter("conv_out.weight")


class SoftCodePixels(nn.Module):
    """Each vector makes a distribution over the codes of a convolutional decoder, which gets their mean.

    These are the proxy codes of TiTok's first stage (arXiv 2406.07550, section 3.3), decoded softly as in its second.
    """

    def __init__(self, width: int, codes: int, network: ConvolutionalConfig):
        super().__init__()
        self.expand = nn.Conv2d(width, 2 * width, 1)
        self.to_logits = nn.Conv2d(2 * width, codes, 1)
        self.table = nn.Parameter(torch.randn(codes, network.latent_channels))
        self.network = ConvolutionalDecoder(network)

    def features(self, x: Tensor) -> Tensor:
        """Return what the last layer gets."""
        logits = self.to_logits(self.expand(x).tanh())
        rows = rearrange(logits, "b k y x -> b y x k").softmax(dim=-1) @ self.table
        return self.network.features(rearrange(rows, "b y x d -> b d y x"))

    def forward(self, features: Tensor) -> Pixels:
        """Apply the last layer."""
        return self.network.pixels(features)

    def hidden_matrices(self) -> list[str]:
        inner = [f"network.{name}" for name in self.network.hidden_matrices()]
        return [*matrices(self.expand, "expand"), *matrices(self.to_logits, "to_logits"), *inner]

    @property
    def last_layer(self) -> nn.Parameter:
        return self.network.last_layer
