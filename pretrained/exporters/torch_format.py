"""Archives of `torch.export`, which torch runs without the code that made them."""

import json
import warnings
from pathlib import Path

import torch

from .base import Exporter, Program, Source, Written
from .halves import halves

ENCODER, DECODER = "encoder.pt2", "decoder.pt2"
FACTS = "vistok.json"
"""Name of the facts inside an archive."""


class TorchExporter(Exporter):
    """Encoder and decoder as two archives."""

    title = "torch.export"
    usage = """import torch

encoder = torch.export.load("encoder.pt2").module()
pixels = torch.rand(1, 3, {height}, {width})  # RGB in [0, 1]
tokens = encoder(pixels)  # {tokens}, int64
"""
    usage_of_decoder = """decoder = torch.export.load("decoder.pt2").module()
images = decoder(tokens)  # b 3 h w in [0, 1]
"""

    def write(self, source: Source, folder: Path) -> Written:
        parts = halves(source)
        facts = {FACTS: json.dumps(source.facts)}
        torch.export.save(parts.encoder, folder / ENCODER, extra_files=dict(facts))
        files = {"encoder": ENCODER}
        if parts.decoder is not None:
            torch.export.save(parts.decoder, folder / DECODER, extra_files=dict(facts))
            files["decoder"] = DECODER
        return Written(files, (0, 1), parts.image_size)

    def load(self, folder: Path) -> Program:
        return Program(_loaded(folder / ENCODER), _loaded(folder / DECODER) if (folder / DECODER).exists() else None)


def _loaded(path: Path) -> torch.nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch 2.9, of its own buffers
        return torch.export.load(path).module()
