"""The codebooks of a quantizer as a report shows them."""

from torch import Tensor

from ..evaluation.token_counts import is_hashed
from ..tokenizer.quantizers import Quantizer
from ..tokenizer.quantizers.vector.quantizer import VectorQuantizer
from .content import CodebookView


def codebook_views(quantizer: Quantizer, counts: Tensor) -> list[CodebookView]:
    """Return the counts of each codebook, with its codes if it stores them and every code was counted."""
    hashed = is_hashed(counts, quantizer.vocab_size)
    books = [] if hashed else [module for module in quantizer.modules() if isinstance(module, VectorQuantizer)]
    tables = [book.codes().detach().float().cpu().numpy() for book in books]
    if len(tables) == 1:  # shared by all levels
        tables = tables * len(counts)
    views = []
    for index, level in enumerate(counts):
        name = "codebook" if len(counts) == 1 else f"codebook {index}"
        table = tables[index] if len(tables) == len(counts) else None
        views.append(CodebookView(name, level.numpy(), table, quantizer.vocab_size))
    return views
