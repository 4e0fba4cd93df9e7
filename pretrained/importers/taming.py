"""VQGANs of taming-transformers (arXiv 2012.09841) and the VQ autoencoders of latent diffusion."""

from .base import Shapes
from .convolutional import ConvolutionalImporter


class Taming(ConvolutionalImporter):
    """The nearest code by Euclidean distance.

    IBQ and Emu3.5 use the same names but choose the code by dot product. IBQ has averaged weights (`model_ema.*`), Emu3.5 no
    discriminator (`loss.*`). Chameleon has no attention within its levels.
    """

    title = "taming-transformers VQGAN"
    source = "https://github.com/CompVis/taming-transformers"
    licence = "MIT"
    notes = ("The original's validation resizes bilinearly without antialiasing; vistok's bicubic filter has it.",)
    ignored = r"loss\..*"
    similarity = "euclidean"
    levels = {"encoder": "down", "decoder": "up"}
    coarsest_first = False
    blocks = "block"
    attentions = "attn"
    middle = ("mid.block_1", "mid.attn_1", "mid.block_2")

    def recognises(self, shapes: Shapes) -> bool:
        has_layout = "encoder.mid.block_1.conv1.weight" in shapes and "decoder.up.0.block.0.conv1.weight" in shapes
        has_attention = any(".attn.0." in name for name in shapes)
        # The decoder of transformers' Janus begins with the coarsest level.
        is_finest_first = "decoder.up.0.upsample.conv.weight" not in shapes
        has_loss = any(name.startswith("loss.") for name in shapes)
        is_averaged = any(name.startswith("model_ema.") for name in shapes)
        return has_layout and is_finest_first and has_attention and has_loss and not is_averaged
