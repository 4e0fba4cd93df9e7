"""vistok: images to discrete tokens and back, for multimodal language models."""

TYPE_CHECKING = False  # as in typing, whose import would keep a command deaf to Ctrl-C for longer
if TYPE_CHECKING:
    from .inference.api import Tokenizer, load
    from .inference.token_dataset.dataset import TokenDataset
    from .pretrained.listing import list_models

__version__ = "0.2.0.dev0"
__all__ = ["TokenDataset", "Tokenizer", "__version__", "list_models", "load"]


def __getattr__(name: str) -> object:
    """Import what needs torch when it is first asked for, so that commands answer `--help` at once (PEP 562)."""
    if name == "list_models":
        from .pretrained import listing

        globals()[name] = listing.list_models
        return globals()[name]
    if name == "TokenDataset":
        from .inference.token_dataset import dataset

        globals()[name] = dataset.TokenDataset
        return globals()[name]
    if name in ("Tokenizer", "load"):
        from .inference import api

        globals()[name] = getattr(api, name)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
