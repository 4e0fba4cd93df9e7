"""The families of public checkpoints that can be imported."""

from .base import Importer
from .llamagen import LlamaGen
from .taming import Taming

IMPORTERS: dict[str, Importer] = {
    "llamagen": LlamaGen(),
    "taming": Taming(),
}
