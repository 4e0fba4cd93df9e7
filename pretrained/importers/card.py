"""The model card of an imported tokenizer."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ...tokenizer.folder.config_json import TokenizerConfig
from ...tokenizer.model import VisualTokenizer
from ...tokenizer.wording import pluralize, shortened
from ..public import Public, published_of_family
from .base import Importer

BLOCK = 1 << 20
METRICS = {"rfid": "rFID", "psnr": "PSNR", "ssim": "SSIM", "lpips": "LPIPS"}


class Facts(NamedTuple):
    """How a checkpoint was imported."""

    digests: dict[str, str]
    """SHA-256 of each file, by its name."""
    found_at: str
    """The keys under which the file holds the weights, with dots between them."""
    trusted: bool
    """Whether it was unpickled."""
    settings: Sequence[str]
    """Those that were given by hand, or come with the name of a public tokenizer."""
    public: Public | None = None
    """What is known of one that was downloaded by its name."""
    conversions: str = ""
    """A sentence on tensors of other types than the tokenizer's, or ""."""
    average: str = ""
    """A sentence on the averages that were taken in place of live weights, or ""."""
    doubt: str = ""
    """What users should check: another family in sight, averages that are missing, a setting that was assumed; else empty."""


def digests(files: Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 of files by their names."""
    return {path.name: _digest(path) for path in files}


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def conversions(tensors: Mapping[str, Tensor], model: VisualTokenizer) -> str:
    """Return a sentence on the tensors that have other types than the weights of the model, or ""."""
    kept = {str(weight.dtype).removeprefix("torch.") for weight in model.state_dict().values()}
    types = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values())
    others = [f"{pluralize(count, 'tensor')} of {name}" for name, count in sorted(types.items()) if name not in kept]
    return f"Converted to {' and '.join(sorted(kept))}: {', '.join(others)}." if others else ""


def card(out: Path, importer: Importer, config: TokenizerConfig, facts: Facts) -> str:
    """Return the text of the card."""
    licence = config.origin.licence if config.origin else importer.licence
    files = " and ".join(f"`{name}` (SHA-256 `{digest}`)" for name, digest in facts.digests.items())
    is_encoder_only = config.architecture.encoder_only
    notes = [
        *importer.notes,
        *(["The checkpoint has no decoder: images become tokens, but tokens no images."] if is_encoder_only else []),
        *([facts.conversions] if facts.conversions else []),
        *([facts.average] if facts.average else []),
        *([facts.doubt] if facts.doubt else []),
        *([_found(facts.found_at)] if facts.found_at else []),
        *(["The file was unpickled (`--trust-pickle`)."] if facts.trusted else []),
        *(f"Set {'for this name' if facts.public else 'by hand'}: `--set {setting}`." for setting in facts.settings),
    ]
    return f"""# {out.resolve().name}

{importer.title}: a tokenizer with the quantizer {config.quantizer.name}, {config.architecture.coverage}.

Imported by vistok from {files}, a checkpoint for the code at {importer.source}.
Licence of the original weights: {licence}.
{"".join(f"{chr(10)}- {note}" for note in notes)}
{_published(config, facts)}"""


def _found(found_at: str) -> str:
    averaged = " They are the averaged ones." if "ema" in found_at.split(".") else ""
    return f"The weights are those under `{shortened(found_at)}` in the file.{averaged}"


def _published(config: TokenizerConfig, facts: Facts) -> str:
    """Return published numbers: those of the tokenizer, or where it is not known which it is, of all in its family."""
    if facts.public is not None:
        entry, commit = facts.public
        url = f"https://huggingface.co/{entry.repository}"
        section = f"\nDownloaded from {url}, commit `{commit}`.\n"
        if entry.published:
            section += f"\n## Published numbers\n\n{_metrics(entry.published)} ({entry.published_in})\n"
        return section
    family = published_of_family(config.origin.family) if config.origin else {}
    if not family:
        return ""
    lines = [f"- {name}: {_metrics(entry.published)} ({entry.published_in})" for name, entry in family.items()]
    return "\n".join(
        [
            "",
            "## Published numbers of this family",
            "",
            "This checkpoint may be one of these, or another.",
            "",
            *lines,
            "",
        ]
    )


def _metrics(published: Mapping[str, float]) -> str:
    return ", ".join(f"{METRICS.get(name, name)} {value:g}" for name, value in published.items())
