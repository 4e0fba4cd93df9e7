"""Packages that only some users have: imported when they are needed, and asked for in one sentence."""

import importlib
from typing import Any

EXTRAS = {"tokenizers": "text", "tiktoken": "text", "transformers": "hub-models"}
"""Packages, and the extra of vistok that installs them."""


def needed(package: str, what: str) -> Any:
    """Import and return a package; raise ValueError that says what needs it when it is not installed."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        extra = EXTRAS[package]
        raise ValueError(
            f"{what} needs the package {package}: pip install '.[{extra}]' in vistok's checkout."
        ) from None
