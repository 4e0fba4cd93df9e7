"""VQModel of diffusers: aMUSEd (arXiv 2401.01808), Lumina-DiMOO (arXiv 2510.06308), and VQGANs converted to it."""

from collections.abc import Callable

from ...tokenizer.folder.config_json import TokenizerConfig
from ...tokenizer.preprocessing import PreprocessingConfig
from .base import Importer, Shapes
from .code_choice import CODEBOOK, NearestCode
from .convolutional import ConvolutionalTranslation
from .layer_names import LayerNames

PARTS = {
    "shortcut": "conv_shortcut",
    "norm": "group_norm",
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "out": "to_out.0",
}
OLD_PARTS = PARTS | {"query": "query", "key": "key", "value": "value", "out": "proj_attn"}
NAMES = LayerNames(
    encoder_level="encoder.down_blocks.{}",
    decoder_level="decoder.up_blocks.{}",
    coarsest_first=True,
    block="resnets.{}",
    attention="attentions.{}",
    downsample="downsamplers.0.conv",
    upsample="upsamplers.0.conv",
    middle_blocks=("mid_block.resnets.0", "mid_block.resnets.1"),
    middle_attention="mid_block.attentions.0",
    norm_out="conv_norm_out",
    parts=PARTS,
)
RESIZE = (
    "As VaeImageProcessor does, images keep their size but for sides that are rounded down to multiples of the downsampling, "
    "with a Lanczos filter; the checkpoint does not say which size it was trained for, so give --size for another."
)
TRANSLATION = ConvolutionalTranslation(
    NearestCode("euclidean"),
    PreprocessingConfig(size="native", fit="shrink", resampling="lanczos", colour="ignore"),
    NAMES,
    fixed_settings={"act_fn": "silu", "norm_num_groups": 32, "norm_type": "group"},
)


def _assumed_range(config: TokenizerConfig) -> str:
    """Return what is assumed of the range of pixels."""
    taken, other = ("[0,1]", "[-1,1]") if config.architecture.pixel_values == (0.0, 1.0) else ("[-1,1]", "[0,1]")
    return (
        f"The checkpoint does not say which range its pixels have: {taken.replace(',', ', ')} was assumed. vistok takes [0, 1] "
        "where the middle of the networks has no attention, as in aMUSEd, and [-1, 1] where it has; import it with --set "
        f"architecture.pixel_values={other} if that is wrong."
    )


def _is_vqmodel(shapes: Shapes) -> bool:
    return "encoder.down_blocks.0.resnets.0.conv1.weight" in shapes and CODEBOOK in shapes


def _has_middle(projection: str) -> Callable[[Shapes], bool]:
    """Return the rule that a checkpoint is a VQModel's, with a projection of this name in the attention of its middle."""
    return lambda shapes: _is_vqmodel(shapes) and f"encoder.mid_block.attentions.0.{projection}.weight" in shapes


def _has_no_middle_attention(shapes: Shapes) -> bool:
    return _is_vqmodel(shapes) and not any(name.startswith("encoder.mid_block.attentions.") for name in shapes)


DIFFUSERS = Importer(
    title="diffusers VQModel",
    source="https://github.com/huggingface/diffusers",
    licence="the publisher's, such as openrail++ for aMUSEd",
    recognises=_has_middle("to_q"),
    translation=TRANSLATION,
    notes=(RESIZE,),
    guess=_assumed_range,
    guessed="architecture.pixel_values",
    exported_as="diffusers",
)
"""Attention in the middle."""
OLD_DIFFUSERS = DIFFUSERS._replace(
    recognises=_has_middle("query"), translation=TRANSLATION._replace(names=NAMES._replace(parts=OLD_PARTS))
)
"""Attention in the middle, with the names that its layers had in the first versions."""
DIFFUSERS_WITHOUT_MIDDLE_ATTENTION = DIFFUSERS._replace(
    recognises=_has_no_middle_attention, translation=TRANSLATION._replace(pixel_values=(0.0, 1.0))
)
"""Two residual blocks in the middle, and pixels in [0, 1]."""
