"""Group normalisation that the latent scales and shifts at each position."""

from torch import Tensor, nn
from torch.nn import functional

from ..shapes import Latent
from .norms import Norm, without_autocast


class ModulatedNorm(nn.Module):
    """Normalise, then scale and shift by 1 x 1 convolutions of the latent, enlarged by repetition.

    y = GN(x) * scale(z) + shift(z), where GN has weights of its own; scale and shift start at 1 and 0. From MoVQ (arXiv
    2209.09002), where the latent is the quantized one.
    """

    def __init__(self, norm: Norm, latent_channels: int):
        super().__init__()
        (channels,) = norm.weight.shape
        self.norm = norm
        self.scale = nn.Conv2d(latent_channels, channels, 1)
        self.shift = nn.Conv2d(latent_channels, channels, 1)
        for layer, start in ((self.scale, 1.0), (self.shift, 0.0)):
            nn.init.zeros_(layer.weight)
            nn.init.constant_(layer.get_parameter("bias"), start)

    def forward(self, x: Tensor, latent: Latent) -> Tensor:
        # A 1 x 1 convolution of the enlarged latent is the enlarged convolution, which is less work.
        scale, shift = (_enlarged(layer(latent), x) for layer in (self.scale, self.shift))
        return self.norm(x) * scale + shift


def modulate(network: nn.Module, latent_channels: int) -> None:
    """Let the latent modulate every normalisation inside a network, which is changed in place."""
    for name, layer in network.named_children():
        if isinstance(layer, Norm):
            setattr(network, name, ModulatedNorm(layer, latent_channels))
        else:
            modulate(layer, latent_channels)


def _enlarged(latent: Tensor, like: Tensor) -> Tensor:
    with without_autocast(latent):
        return functional.interpolate(latent, size=like.shape[2:], mode="nearest")
