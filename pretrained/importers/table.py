"""The families of public checkpoints that can be imported."""

from .base import Importer
from .llamagen import LlamaGen
from .taming import Taming

IMPORTERS: dict[str, tuple[Importer, ...]] = {
    "llamagen": (LlamaGen(),),
    "taming": (Taming(),),
}
"""Each family with its layouts, which differ in the names of the tensors."""
