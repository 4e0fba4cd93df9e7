"""The mixed inputs of torture_tokenize.py."""

import io
import os
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

SIDES = (8, 90)


def make_inputs(folder: Path, images: int, seed: int) -> list[Path]:
    """Make the mixed inputs and return the paths to give to the command."""
    generator = np.random.default_rng(seed)
    photos = folder / "photos"
    for index in range(images):
        path = photos / f"{index % 7}" / f"{index:05d}.{('jpg', 'png', 'webp')[index % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"broken" if index % 23 == 5 else encoded(generator, path.suffix))
        if index % 4 == 0:
            path.with_suffix(".txt").write_text(f"caption {index}")
    (photos / "link.png").symlink_to("nowhere.png")
    (photos / ("n" * 251 + ".jpg")).write_bytes(encoded(generator, ".jpg"))
    os.mkfifo(photos / "fifo.jpg")
    tars = [make_tar(folder / f"shard-{index}.tar", images // 6, generator) for index in range(6)]
    whole = tars[0].read_bytes()
    (folder / "damaged.tar").write_bytes(whole[: len(whole) // 2])
    listed = folder / "list.txt"
    listed.write_text(f"# more\n{folder}/missing.png\n{photos}/0\n")
    return [*tars, folder / "damaged.tar", photos, listed]


def make_tar(path: Path, images: int, generator: np.random.Generator) -> Path:
    """Make a shard with captions, a link, a folder, a fifo and an odd key."""
    with tarfile.open(path, "w") as tar:
        for index in range(images):
            name = ("../" if index == 3 else "") + f"{path.stem}/{index:04d}"
            add(tar, f"{name}.jpg", encoded(generator, ".jpg") if index % 17 != 4 else b"")
            add(tar, f"{name}.txt", b"caption")
            add(tar, f"{name}.json", b'{"n": %d}' % index)
        for name, kind, target in (
            ("folder", tarfile.DIRTYPE, ""),
            ("link.jpg", tarfile.SYMTYPE, f"{path.stem}/0000.jpg"),
            ("hard.jpg", tarfile.LNKTYPE, f"{path.stem}/0001.jpg"),
            ("fifo.jpg", tarfile.FIFOTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
    return path


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file to a tar."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def encoded(generator: np.random.Generator, ending: str) -> bytes:
    """Return the file of a small image of noise."""
    width, height = generator.integers(*SIDES, 2)
    image = Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}[ending])
    return buffer.getvalue()
