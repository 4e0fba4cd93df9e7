"""The metadata of a model card, as the Hugging Face hub reads it: YAML between two lines of dashes, before the text."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from .config_json import Origin, TokenizerConfig

MARK = "---"
LICENCES = {name.lower(): name.lower() for name in ("Apache-2.0", "MIT", "openrail++")}
"""Names that the hub gives licences, by what publishers write."""
WRITTEN = re.compile(r"\n<!-- vistok ([0-9a-f]{16}) -->\n\Z")
"""The last line of a card that vistok wrote: a digest of what comes before it."""


def with_mark(card: str) -> str:
    """Return a card with a last line, which readers do not see, by which `is_changed` knows it."""
    return f"{card}\n<!-- vistok {_digest(card)} -->\n"


def is_by_vistok(path: Path) -> bool:
    """Return whether a file is a card that vistok wrote, even one that was changed since."""
    return f'{MARK}\nlibrary_name: "vistok"\n' in _text(path)[:100]


def is_changed(path: Path) -> bool:
    """Return whether there is a card that is not as vistok wrote it."""
    text = _text(path)
    mark = WRITTEN.search(text)
    return path.exists() and (mark is None or mark[1] != _digest(text[: mark.start()]))


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace") if path.is_file() else ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]


def with_metadata(card: str, config: TokenizerConfig) -> str:
    """Return the text of a card after the metadata of its tokenizer (https://huggingface.co/docs/hub/model-cards)."""
    values: dict[str, Any] = {
        "library_name": "vistok",
        "pipeline_tag": "image-feature-extraction" if config.architecture.encoder_only else "image-to-image",
        "tags": _tags(config),
    }
    if config.origin is not None:
        values |= _licence(config.origin)
        if config.origin.repository:
            values["base_model"] = config.origin.repository.partition("@")[0]
    # JSON is YAML, too.
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    return "\n".join([MARK, *lines, MARK, "", card])


def _tags(config: TokenizerConfig) -> list[str]:
    family = [config.origin.family] if config.origin else []
    return ["visual-tokenizer", "image-tokenizer", "vector-quantization", config.quantizer.name, *family]


def _licence(origin: Origin) -> dict[str, str]:
    known = LICENCES.get(origin.licence.lower())
    if known is not None:
        return {"license": known}
    name = re.sub(r"[^a-z0-9.+]+", "-", origin.licence.lower()).strip("-")
    return {"license": "other", "license_name": name, "license_link": origin.source}
