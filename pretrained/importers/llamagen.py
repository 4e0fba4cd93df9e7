"""LlamaGen's VQ-8 and VQ-16 (arXiv 2406.06525)."""

from collections.abc import Iterable

from torch import Tensor

from ...tokenizer.folder.config_json import TokenizerConfig
from ...tokenizer.networks.convolutional import ConvolutionalConfig
from ...tokenizer.preprocessing import PreprocessingConfig
from ...tokenizer.quantizers.vector.quantizer import VQConfig
from .base import Importer, Shapes, Take
from .convolutional_names import Names, Side

NAMES = Names(
    encoder=Side("encoder", "conv_blocks", is_reversed=False, resample="downsample"),
    decoder=Side("decoder", "conv_blocks", is_reversed=False, resample="upsample"),
    blocks="res",
    attentions="attn",
    middle=("mid.0", "mid.1", "mid.2"),
)


class LlamaGen(Importer):
    """Latents and codes are normalised to the unit sphere, for the choice of the code and for decoding."""

    title = "LlamaGen"
    source = "https://github.com/FoundationVision/LlamaGen"
    preprocessing_note = (
        "LlamaGen halves large images with a box filter before its bicubic resize; vistok resizes once."
    )
    ignored = r"quantize\.codebook_used"

    def recognises(self, shapes: Shapes) -> bool:
        return "encoder.conv_blocks.0.res.0.conv1.weight" in shapes and "quantize.embedding.weight" in shapes

    def config(self, shapes: Shapes) -> TokenizerConfig:
        codes, dim = shapes.rows("quantize.embedding.weight"), shapes.rows("quant_conv.weight")
        return TokenizerConfig(
            architecture=NAMES.architecture(shapes),
            quantizer=VQConfig(dim=dim, codebook_size=codes, similarity="cosine"),
            preprocessing=PreprocessingConfig(size=256),
        )

    def weights(self, config: TokenizerConfig, names: Iterable[str], take: Take) -> dict[str, Tensor]:
        architecture = config.architecture
        assert isinstance(architecture, ConvolutionalConfig)
        return {name: take(NAMES.of(name, architecture)) for name in names}
