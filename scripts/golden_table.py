"""Compare imported tokenizers with what the original code of each family outputs, for all golden data of the tests.

    python scripts/golden_table.py --out results/golden.json

Counts the tokens that differ, and finds the largest differences of latents and of decoded pixels (black and white are 2 apart)
at the positions that the golden data sample.
"""

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

import vistok
from vistok.pretrained.importers.checkpoint import Checkpoint
from vistok.pretrained.importers.fit import converted
from vistok.pretrained.importers.layout import Layout, layouts
from vistok.pretrained.importers.table import IMPORTERS
from vistok.tokenizer.model import VisualTokenizer, build_tokenizer

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))
from golden_weights import GOLDEN, golden_case, golden_image  # noqa: E402


def main() -> None:
    """Measure every case, family by family."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the results.")
    out = parser.parse_args().out
    rows: dict[str, dict[str, Any]] = defaultdict(
        lambda: {"cases": 0, "tokens": 0, "differ": 0, "latent": 0.0, "pixels": 0.0, "source": ""}
    )
    for path in sorted(GOLDEN.glob("*/*.json")):
        name = path.relative_to(GOLDEN).with_suffix("").as_posix()
        case, weights = golden_case(name)
        row = rows[path.parent.name]
        row["cases"] += 1
        row["source"] = case["source"].get("repository", row["source"])
        model = _model(path.parent.name, Checkpoint(weights, case["hyperparameters"]))
        for given in case["inputs"]:
            _compare(model, given, case["pixels"], row)
        print(name, row, flush=True)
    out.write_text(
        json.dumps({"vistok": vistok.__version__, "torch": torch.__version__, "families": rows}, indent=2) + "\n"
    )


def _model(family: str, checkpoint: Checkpoint) -> VisualTokenizer:
    found = [each for each in layouts({family: IMPORTERS[family]}, checkpoint) if each.is_recognised()]
    layout: Layout = found[0]
    config = layout.importer.config(layout.shapes, checkpoint.settings)
    model = build_tokenizer(config.architecture, config.quantizer)
    model.load_state_dict(converted(layout, config, layout.tensors))
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # as vistok.load has it


def _compare(
    model: VisualTokenizer, golden: dict[str, Any], pixel_values: tuple[float, float], row: dict[str, Any]
) -> None:
    image = torch.from_numpy(golden_image(golden["seed"], *golden["size"]))
    pixels = (image.permute(2, 0, 1)[None].float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
    latent, tokens = model.encode_latent(pixels), model.encode(pixels)
    expected = torch.tensor(golden["tokens"]).reshape(golden["tokens_shape"])
    if expected.ndim == 3 and expected.shape[-1] == model.quantizer.num_codebooks:  # of each position, all groups
        expected = expected.permute(2, 0, 1)
    expected = expected.reshape(tokens.shape)
    row["tokens"] += expected.numel()
    row["differ"] += int((tokens != expected).sum())
    for position, name in ((0, "first"), (-1, "last")):
        channels = torch.tensor(golden["latent"][f"{name}_position_first_channels"])
        difference = (latent[0, :8, position, position][: len(channels)] - channels).abs().max()
        row["latent"] = max(row["latent"], difference.item())
    if "decoded" in golden:
        black, white = pixel_values
        decoded = model.decode_latent(model.quantizer.lookup(expected))[0]
        for c, y, x, value in golden["decoded"]["samples"]:
            there = 2 * (value - black) / (white - black) - 1
            row["pixels"] = max(row["pixels"], abs(decoded[c, y, x].item() - there))


if __name__ == "__main__":
    main()
