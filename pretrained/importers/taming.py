"""VQGANs of taming-transformers (arXiv 2012.09841) and the VQ autoencoders of latent diffusion."""

from .base import RESIZED_AS_OPENCV, SQUARE, Importer, has_tensors
from .code_choice import LikeliestCode, NearestCode
from .convolutional import ConvolutionalTranslation
from .taming_names import TamingNames, by_taming_names

TAMING = Importer(
    title="taming-transformers VQGAN",
    source="https://github.com/CompVis/taming-transformers",
    licence="MIT",
    recognises=by_taming_names(TamingNames.may_be_taming),
    translation=ConvolutionalTranslation(NearestCode("euclidean"), SQUARE),
    notes=(RESIZED_AS_OPENCV,),
    ignored=r"loss\..*",
    prefixes=("first_stage_model.",),
)
"""The nearest code by Euclidean distance."""
TAMING_GUMBEL = TAMING._replace(
    title="taming-transformers Gumbel VQGAN",
    recognises=has_tensors(
        "encoder.mid.block_1.conv1.weight",
        "decoder.up.0.block.0.conv1.weight",
        "quantize.proj.weight",
        "quantize.embed.weight",
    ),
    translation=ConvolutionalTranslation(LikeliestCode(), SQUARE),
    notes=(
        *TAMING.notes,
        "The original draws Gumbel noise even when it only encodes; vistok's tokens are those without noise.",
    ),
)
"""The code of the highest logit, from a second table."""
