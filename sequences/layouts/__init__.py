"""Layouts of images in a sequence: the table LAYOUTS."""

from .base import Grid, Layout, Slots
from .table import LAYOUTS, build_layout

__all__ = ["LAYOUTS", "Grid", "Layout", "Slots", "build_layout"]
