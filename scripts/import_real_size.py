"""How long importing public tokenizers of their real size takes, and tokenizing with them, and how much memory.

    python scripts/import_real_size.py --out results/import_real_size.json [--family llamagen] [--size 256]

Files with the layout, size and wrapper of the published ones are written, their weights by the rule of tests/golden_weights.py.
Each command runs in a process of its own, whose peak of resident memory (ru_maxrss) also counts the pages of mapped files and
of torch's libraries: `bare_bytes` is the peak of a process that only imports torch. Rows of other families are kept.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
PHOTOS = ROOT / "tests" / "photos"
COUNT = 24


class Published(NamedTuple):
    """A public checkpoint: its hyper-parameters, and what the golden data say of its layout."""

    family: str
    case: str
    """Golden case with the same names of tensors."""
    file: str
    wrapper: str
    channels: int
    multipliers: tuple[int, ...]
    blocks: int
    latent_channels: int
    dim: int
    codes: int


PUBLISHED = {
    "llamagen": Published(
        "llamagen", "llamagen/small_f16", "vq_ds16_c2i.pt", "model", 128, (1, 1, 2, 2, 4), 2, 256, 8, 16384
    ),
    "emu3.5": Published(
        "emu3.5", "emu3.5/small", "model.ckpt", "state_dict", 256, (1, 1, 2, 2, 4), 4, 256, 256, 131072
    ),
}


def main() -> None:
    """Measure the families that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the results.")
    parser.add_argument("--family", choices=list(PUBLISHED), action="append", help="Default: all.")
    parser.add_argument("--size", help="Of the images, for tokenize-images. Default: each tokenizer's own.")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    families = arguments.family or list(PUBLISHED)
    if arguments.write:
        write_checkpoint(PUBLISHED[families[0]], arguments.write)
        write_photos(arguments.write.with_name("photos"))
        return
    known = json.loads(arguments.out.read_text())["families"] if arguments.out.exists() else {}
    for family in families:
        with tempfile.TemporaryDirectory() as folder:
            known[family] = measure(PUBLISHED[family], Path(folder), arguments.size)
        results = {
            "machine": {"cores": len(os.sched_getaffinity(0)), "processor": platform.machine()},
            "images": COUNT,
            "bare_bytes": run([sys.executable, "-c", "import torch"])["peak_bytes"],
            "families": known,
        }
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")
        print(json.dumps({family: known[family]}, indent=1), flush=True)


def measure(published: Published, folder: Path, size: str | None) -> dict[str, Any]:
    """Return the seconds and the peak memory of both commands."""
    checkpoint, tokenizer, shards = folder / published.file, folder / "tokenizer", folder / "shards"
    this = [sys.executable, str(Path(__file__)), "--out", os.devnull, "--family", published.family]
    run([*this, "--write", str(checkpoint)])  # in another process, whose memory is not measured
    importing = run([*command("import_tokenizer"), published.family, str(checkpoint), "--out", str(tokenizer)])
    options = ["--model", str(tokenizer), "--out", str(shards), "--quiet", *(["--size", size] if size else [])]
    tokenizing = run([*command("tokenize_images"), str(folder / "photos"), *options])
    file_bytes = checkpoint.stat().st_size
    return {
        "file_bytes": file_bytes,
        "import": importing | {"peak_of_file": round(importing["peak_bytes"] / file_bytes, 3)},
        "tokenize": tokenizing
        | {
            "size": json.loads((shards / "manifest.json").read_text())["preprocessing"]["size"],
            "images_per_second": round(COUNT / tokenizing["seconds"], 3),
        },
    }


def command(name: str) -> list[str]:
    """Return the call of a command of vistok."""
    return [sys.executable, "-c", f"from vistok.cli.launch import {name}; {name}()"]


def run(call: list[str]) -> dict[str, Any]:
    """Run a program and return its seconds and its peak of resident memory in bytes."""
    start = time.perf_counter()
    process = subprocess.Popen(call)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(call)} failed.")
    scale = 1 if sys.platform == "darwin" else 1024
    return {"seconds": round(time.perf_counter() - start, 2), "peak_bytes": usage.ru_maxrss * scale}


def write_photos(folder: Path) -> None:
    """Write COUNT different photos: those of the tests, turned."""
    from PIL import Image

    folder.mkdir()
    sources = sorted(path for path in PHOTOS.iterdir() if path.suffix != ".md")
    for index in range(COUNT):
        turns, photo = divmod(index, len(sources))
        with Image.open(sources[photo]) as image:
            image.convert("RGB").rotate(90 * turns, expand=True).save(folder / f"{index:02d}.png")


def write_checkpoint(published: Published, path: Path) -> None:
    """Write a file with the layout and size of the published one."""
    import torch

    sys.path.append(str(ROOT / "tests"))
    from golden_weights import GOLDEN, golden_weight

    shapes = full_shapes(published)
    case = json.loads((GOLDEN / f"{published.case}.json").read_text())
    assert shapes.keys() == case["tensors"].keys()
    rules = {key: case[key] for key in ("codebook_scale", "gains") if key in case}
    weights = {name: torch.from_numpy(golden_weight(name, shape, **rules)) for name, shape in shapes.items()}
    ignored = {name: torch.zeros(shape) for name, shape in case["ignored"].items()}
    torch.save({published.wrapper: weights | ignored}, path)


def full_shapes(published: Published) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors, by the names that the importer looks for."""
    import torch

    from vistok.pretrained.importers.fit import expected_weights
    from vistok.pretrained.importers.table import IMPORTERS

    config = config_of(published)
    shapes: dict[str, tuple[int, ...]] = {}

    def source_of(shape: torch.Size) -> Callable[[str], torch.Tensor]:
        def take(name: str) -> torch.Tensor:
            shapes[name] = tuple(shape)
            return torch.empty(shape, device="meta")

        return take

    for name, weight in expected_weights(config).items():
        IMPORTERS[published.family][0].weights(config, [name], source_of(weight.shape))
    return shapes


def config_of(published: Published) -> Any:
    """Return the TokenizerConfig of a public checkpoint."""
    from vistok.tokenizer.folder.config_json import TokenizerConfig

    levels = len(published.multipliers)
    channels = [published.channels * factor for factor in published.multipliers]

    def stack(blocks: int) -> dict[str, Any]:
        return {"channels": channels, "blocks": [blocks] * levels, "attention": [levels - 1]}

    return TokenizerConfig.model_validate(
        {
            "architecture": {
                "latent_channels": published.latent_channels,
                "encoder": stack(published.blocks),
                "decoder": stack(published.blocks + 1),
            },
            "quantizer": {"name": "vq", "dim": published.dim, "codebook_size": published.codes},
        }
    )


if __name__ == "__main__":
    main()
