"""The multi-scale residual tokenizer of VAR (arXiv 2404.02905)."""

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor

from ...tokenizer.config import parse_config
from ...tokenizer.preprocessing import PreprocessingConfig
from ...tokenizer.quantizers import QuantizerConfig
from ...tokenizer.quantizers.composed.multiscale import MAX_SCALES, VAR_SCALES, MultiscaleConfig
from ...tokenizer.quantizers.composed.smoothing import shared_smoothers
from .base import Importer, MissingSettingError, Shapes, Take, has_tensors
from .code_choice import CODEBOOK
from .convolutional import ConvolutionalTranslation
from .layer_names import TAMING_PARTS, LayerNames
from .stored_settings import side_lengths

SMOOTHERS = "quantize.quant_resi.qresi_ls.{}"
SMOOTHER = f"{SMOOTHERS}.{{}}"
HITS = "quantize.ema_vocab_hit_SV"
"""How often each scale took each code in training."""
SCALES = "v_patch_nums"
PROJECTIONS = ("query", "key", "value")


class NearestCodeOfEachScale(NamedTuple):
    """The nearest code of one table at every scale, and convolutions that several scales share."""

    def config(self, shapes: Shapes, settings: Mapping[str, Any]) -> QuantizerConfig:
        scales = side_lengths(settings, SCALES) or list(VAR_SCALES)
        counted = shapes.rows(HITS) if HITS in shapes else len(scales)
        if counted != len(scales):
            raise MissingSettingError(
                f"it was trained with {counted} scales, but {len(scales)} are known: give their sides as {SCALES} in a "
                "config.json beside it",
                {SCALES: list(range(1, 1 + min(counted, MAX_SCALES)))},
            )
        smoothers = shapes.count(SMOOTHERS, "weight")
        codes, dim = shapes.rows(CODEBOOK), shapes.rows("quant_conv.weight")
        values = {
            "quantizer": {"name": "vq", "dim": dim, "codebook_size": codes},
            "scales": scales,
            "smoothers": max(1, smoothers),
            # Ties between two convolutions are decided by rounding, so the result is kept.
            "smoother_of_scale": shared_smoothers(len(scales), max(1, smoothers)),
        }
        return parse_config(MultiscaleConfig, values, "quantizer")

    def weight(self, name: str, take: Take) -> Tensor:
        owner, *path = name.split(".")
        if owner == "smoothers":
            return take(SMOOTHER.format(*path))
        with suppress(ValueError, KeyError):
            take(HITS)  # which was for the number of scales alone
        return take(CODEBOOK)


def third(index: int, tensor: Tensor) -> Tensor:
    """Return the query's, key's or value's part of the projection that is one convolution in the checkpoint."""
    return tensor.chunk(3)[index].clone()


VAR = Importer(
    title="VAR",
    source="https://github.com/FoundationVision/VAR",
    licence="MIT",
    recognises=has_tensors("encoder.mid.attn_1.qkv.weight", SMOOTHER.format(0, "weight"), CODEBOOK),
    translation=ConvolutionalTranslation(
        NearestCodeOfEachScale(),
        PreprocessingConfig(
            size=256, resize_ratio=1.125, crop="even_centre", rounding="down", resampling="lanczos", colour="ignore"
        ),
        LayerNames(parts=TAMING_PARTS | dict.fromkeys(PROJECTIONS, "qkv")),
        conversions={rf".*\.{name}\.(weight|bias)": partial(third, index) for index, name in enumerate(PROJECTIONS)},
    ),
    notes=(
        "The short side is resized to 288 pixels, and the middle 256 are cropped, as published.",
        "Tokens are one row for each image, scale after scale.",
    ),
)
"""Taming's names; attention at the coarsest grid, with one convolution for query, key and value."""
