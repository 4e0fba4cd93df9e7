"""vistok: images to discrete tokens and back, for multimodal language models."""

from .inference.api import Tokenizer, load

__version__ = "0.1.0"
__all__ = ["Tokenizer", "__version__", "load"]
