"""Sampling that makes valid images only."""

from .cached import CachedModel
from .draw import PairedDraw, draw, filter_logits
from .guidance import Guidance, guided
from .loop import generate_images
from .masks import allow_range
from .processor import ImageConstraint
from .unconditional import CachedUnconditional

__all__ = [
    "CachedModel",
    "CachedUnconditional",
    "Guidance",
    "ImageConstraint",
    "PairedDraw",
    "allow_range",
    "draw",
    "filter_logits",
    "generate_images",
    "guided",
]
