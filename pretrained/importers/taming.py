"""VQGANs of taming-transformers (arXiv 2012.09841) and the VQ autoencoders of latent diffusion."""

from collections.abc import Iterable

from torch import Tensor

from ...tokenizer.folder.config_json import TokenizerConfig
from ...tokenizer.networks.convolutional import ConvolutionalConfig
from ...tokenizer.preprocessing import PreprocessingConfig
from ...tokenizer.quantizers.vector.quantizer import VQConfig
from .base import Importer, Shapes, Take
from .convolutional_names import Names, Side

NAMES = Names(
    encoder=Side("encoder", "down", is_reversed=False, resample="downsample"),
    decoder=Side("decoder", "up", is_reversed=True, resample="upsample"),
    blocks="block",
    attentions="attn",
    middle=("mid.block_1", "mid.attn_1", "mid.block_2"),
)


class Taming(Importer):
    """The nearest code by Euclidean distance.

    IBQ and Emu3.5 use the same names but choose the code by dot product. IBQ has averaged weights (`model_ema.*`), Emu3.5 no
    discriminator (`loss.*`). Chameleon has no attention within its levels.
    """

    title = "taming-transformers VQGAN"
    source = "https://github.com/CompVis/taming-transformers"
    preprocessing_note = (
        "The original's validation resizes bilinearly without antialiasing; vistok's bicubic filter has it."
    )
    ignored = r"loss\..*"

    def recognises(self, shapes: Shapes) -> bool:
        has_layout = "encoder.mid.block_1.conv1.weight" in shapes and "decoder.up.0.block.0.conv1.weight" in shapes
        has_attention = any(".attn.0." in name for name in shapes)
        is_reversed = (
            "decoder.up.0.upsample.conv.weight" not in shapes
        )  # transformers' Janus starts with the coarsest level
        has_loss = any(name.startswith("loss.") for name in shapes)
        is_averaged = any(name.startswith("model_ema.") for name in shapes)
        return has_layout and is_reversed and has_attention and has_loss and not is_averaged

    def config(self, shapes: Shapes) -> TokenizerConfig:
        codes, dim = shapes.rows("quantize.embedding.weight"), shapes.rows("quant_conv.weight")
        return TokenizerConfig(
            architecture=NAMES.architecture(shapes),
            quantizer=VQConfig(dim=dim, codebook_size=codes),
            preprocessing=PreprocessingConfig(size=256),
        )

    def weights(self, config: TokenizerConfig, names: Iterable[str], take: Take) -> dict[str, Tensor]:
        architecture = config.architecture
        assert isinstance(architecture, ConvolutionalConfig)
        return {name: take(NAMES.of(name, architecture)) for name in names}
