"""From a quantizer and its counts to what a report shows of its codebooks."""

from torch import Tensor

from ..evaluation.token_counts import is_hashed
from ..tokenizer.quantizers import Quantizer
from ..tokenizer.quantizers.vector.quantizer import VectorQuantizer
from .content import CodebookView


def codebook_views(quantizer: Quantizer, counts: Tensor) -> list[CodebookView]:
    """Return how each codebook was used, with its table where it has one and a count for each code."""
    hashed = is_hashed(counts, quantizer.vocab_size)
    books = [] if hashed else [module for module in quantizer.modules() if isinstance(module, VectorQuantizer)]
    tables = [book.codes().detach().float().cpu().numpy() for book in books]
    if len(tables) == 1:  # shared by all levels
        tables = tables * len(counts)
    views = []
    for number, level in enumerate(counts):
        name = "codebook" if len(counts) == 1 else f"codebook {number}"
        table = tables[number] if len(tables) == len(counts) else None
        views.append(CodebookView(name, level.numpy(), table, quantizer.vocab_size))
    return views
