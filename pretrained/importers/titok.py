"""TiTok (arXiv 2406.07550): an image of 256 x 256 pixels as 32 to 256 tokens without a grid."""

import functools
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from ...tokenizer.config import parse_config
from ...tokenizer.folder.config_json import TokenizerConfig
from ...tokenizer.networks.convolutional import ConvolutionalConfig
from ...tokenizer.networks.latent_tokens import LatentTokensConfig
from ...tokenizer.preprocessing import PreprocessingConfig
from ...tokenizer.quantizers.search.nearest import Similarity
from ...tokenizer.quantizers.vector.quantizer import VQConfig
from .base import Importer, Shapes, Take, TensorError
from .code_choice import CODEBOOK
from .maskgit import TRANSLATION as MASKGIT
from .stored_settings import truth_of
from .titok_names import weight_of

HEAD_WIDTH = 64
"""Channels of a head in the three sizes of the original: small 512 / 8, base 768 / 12, large 1024 / 16."""
EPSILON = 1e-5
LOGITS = "decoder.ffn.2.weight"
"""Makes the distribution over MaskGIT's codes."""
PIXEL_CODES = "pixel_quantize.embedding.weight"
PIXELS = "pixel_"
"""Comes before MaskGIT's names."""
NETWORK = "decoder.pixels.network."


class TiTokTranslation(NamedTuple):
    """Names of the transformers' layers, and of what makes pixels of the decoder's vectors."""

    has_soft_codes: bool
    """Whether the decoder makes pixels from the mean of other codes, and not directly."""
    mixes_latents: bool
    """Whether latent tokens and channels are mixed."""
    similarity: Similarity
    """How codes are chosen, unless the settings say it."""
    layers: Mapping[str, str]
    """Beginnings of the names of other layers: vistok's and theirs."""

    def config(self, shapes: Shapes, settings: Mapping[str, Any]) -> TokenizerConfig:
        codes, dim = shapes.rows(CODEBOOK), shapes.rows("encoder.conv_out.weight")
        patch, grid = shapes.last("encoder.patch_embed.weight"), _grid(shapes, "encoder")
        architecture = {
            "image_size": patch * grid,
            "patch": patch,
            "latent_tokens": shapes.rows("latent_tokens"),
            "latent_channels": dim,
            "quantizer_convolutions": False,
            "pixel_values": (0.0, 1.0),
            "mixes_latents": self.mixes_latents,
            "encoder": _transformer(shapes, "encoder"),
            "decoder": {
                "transformer": _transformer(shapes, "decoder"),
                "patch": patch * grid // _grid(shapes, "decoder"),
                "soft_codes": _soft_codes(shapes) if self.has_soft_codes else None,
            },
        }
        quantizer = {"dim": dim, "codebook_size": codes, "similarity": _similarity(settings, self.similarity)}
        preprocessing = {"size": patch * grid, "crop": "even_centre", "rounding": "down", "colour": "ignore"}
        values = {
            "architecture": parse_config(LatentTokensConfig, architecture),
            "quantizer": parse_config(VQConfig, quantizer, "quantizer"),
            "preprocessing": parse_config(PreprocessingConfig, preprocessing, "preprocessing"),
        }
        return parse_config(TokenizerConfig, values)

    def weights(self, config: TokenizerConfig, names: Iterable[str], take: Take) -> dict[str, Tensor]:
        assert isinstance(config.architecture, LatentTokensConfig)
        once = functools.cache(take)  # some tensors make two of ours
        codes = config.architecture.decoder.soft_codes
        weights = {}
        for name in names:
            if codes and name.startswith(NETWORK):
                weights[name] = _pixel_weight(name.removeprefix(NETWORK), codes.network, once)
            else:
                weights[name] = weight_of(name, self.layers, once)
        return weights


def _soft_codes(shapes: Shapes) -> dict[str, Any]:
    own = Shapes(
        {name.removeprefix(PIXELS): shape for name, shape in shapes.items() if name.startswith(f"{PIXELS}decoder.")}
    )
    own.prefix = PIXELS
    stack = MASKGIT.stack("decoder", own)
    network = {"encoder": stack, "decoder": stack, "latent_channels": shapes.last(PIXEL_CODES), **MASKGIT.options}
    return {"codes": shapes.rows(PIXEL_CODES), "network": network}


def _pixel_weight(name: str, network: ConvolutionalConfig, take: Take) -> Tensor:
    """Return a weight of MaskGIT's decoder."""
    ours = f"decoder.{name}"
    return MASKGIT.tensors(network, [ours], lambda theirs: take(f"{PIXELS}{theirs}"))[ours]


def _similarity(settings: Mapping[str, Any], as_published: Similarity) -> Similarity:
    normalises = truth_of(settings, "model.vq_model.use_l2_norm")
    return as_published if normalises is None else "cosine" if normalises else "euclidean"


def _is_titok(shapes: Shapes) -> bool:
    return {"latent_tokens", "encoder.latent_token_positional_embedding", CODEBOOK} <= shapes.keys()


def _grid(shapes: Shapes, side: str) -> int:
    positions = shapes.rows(f"{side}.positional_embedding") - 1  # one is the class token's
    if positions < 1 or positions != math.isqrt(positions) ** 2:
        raise TensorError(
            f"its tensor {{}} has {positions} positions beside one, which are no square", f"{side}.positional_embedding"
        )
    return math.isqrt(positions)


def _transformer(shapes: Shapes, side: str) -> dict[str, Any]:
    width = shapes.last(f"{side}.positional_embedding")
    hidden = shapes.rows(f"{side}.transformer.0.mlp.c_fc.weight")
    layers = shapes.count(f"{side}.transformer.{{}}", "ln_1.weight")
    heads = max(1, width // HEAD_WIDTH)
    return {"width": width, "layers": layers, "heads": heads, "expansion": hidden // max(1, width), "epsilon": EPSILON}


TITOK = Importer(
    title="TiTok",
    source="https://github.com/bytedance/1d-tokenizer",
    licence="Apache-2.0",
    recognises=lambda shapes: _is_titok(shapes) and LOGITS not in shapes,
    translation=TiTokTranslation(
        has_soft_codes=False,
        mixes_latents=False,
        similarity="euclidean",
        layers={"decoder.pixels.to_patches.": "decoder.ffn.0.", "decoder.pixels.conv_out.": "decoder.conv_out."},
    ),
    notes=("Pixels are in [0, 1] in the networks.",),
)
"""The models whose decoder makes pixels directly, such as those with 8192 codes (`vq8k`)."""
TITOK_WITH_SOFT_CODES = TITOK._replace(
    recognises=lambda shapes: _is_titok(shapes) and LOGITS in shapes,
    translation=TiTokTranslation(
        has_soft_codes=True,
        mixes_latents=True,
        similarity="cosine",
        layers={
            "decoder.pixels.expand.": "decoder.ffn.0.",
            "decoder.pixels.to_logits.": "decoder.ffn.2.",
            "decoder.pixels.table": PIXEL_CODES,
        },
    ),
    notes=(
        *TITOK.notes,
        "The encoder mixes latent tokens and channels before its last layer, and vistok does the same: the weights of these "
        "models depend on it.",
    ),
)
"""The first models (L-32, B-64, S-128), with codes of 12 channels: soft codes of MaskGIT's decoder make pixels."""
