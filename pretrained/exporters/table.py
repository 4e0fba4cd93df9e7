"""The formats that tokenizers are exported in, one table."""

from .base import Exporter
from .diffusers_format import DiffusersExporter
from .onnx_format import OnnxExporter
from .torch_format import TorchExporter

EXPORTERS: dict[str, Exporter] = {"onnx": OnnxExporter(), "torch": TorchExporter(), "diffusers": DiffusersExporter()}
"""By the name of the format."""
