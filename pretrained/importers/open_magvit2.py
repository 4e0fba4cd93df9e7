"""Open-MAGVIT2 of SEED-Voken (arXiv 2409.04410): lookup-free quantization (arXiv 2310.05737) to 2^14 or 2^18 codes."""

from ...tokenizer.preprocessing import PreprocessingConfig
from .base import Shapes
from .blocks_without_attention import MagvitImporter, has_signs_of_latent
from .code_choice import SignsOfLatent


class OpenMagvit2Importer(MagvitImporter):
    """The signs of all channels are one code; the first channel is its least significant bit."""

    title = "Open-MAGVIT2"
    source = "https://github.com/TencentARC/SEED-Voken"
    licence = "Apache-2.0"
    choice = SignsOfLatent()


class OpenMagvit2(OpenMagvit2Importer):
    """One token for 16 x 16 pixels, at 256 pixels."""

    preprocessing = PreprocessingConfig(size=256, resampling="linear", colour="ignore")

    def recognises(self, shapes: Shapes) -> bool:
        return has_signs_of_latent(shapes, in_groups=False) and _has_five_levels(shapes)


class OpenMagvit2At128(OpenMagvit2Importer):
    """One token for 8 x 8 pixels, at 128 pixels."""

    preprocessing = PreprocessingConfig(size=128, resampling="linear", colour="ignore")

    def recognises(self, shapes: Shapes) -> bool:
        return has_signs_of_latent(shapes, in_groups=False) and not _has_five_levels(shapes)


def _has_five_levels(shapes: Shapes) -> bool:
    return "encoder.down.4.block.0.conv1.weight" in shapes
