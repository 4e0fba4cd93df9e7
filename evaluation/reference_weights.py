"""Whether the weights of LPIPS and rFID are here or within reach, asked before anything waits for a download."""

import importlib.util
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import torch

from ..pretrained.network import is_reachable, use_cache_without_hub


class Download(NamedTuple):
    """Weights that a library, `package`, downloads into torch's cache, and the option that takes their file."""

    what: str
    option: str
    package: str
    url: str


TORCHVISION = "https://download.pytorch.org/models/vgg16-397923af.pth"
FIDELITY = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
DOWNLOADS = {
    "lpips": Download("torchvision's vgg16", "--lpips-weights", "torchvision", TORCHVISION),
    "rfid": Download("torch-fidelity's Inception", "--inception-weights", "torch_fidelity", FIDELITY),
}


def unavailable(files: Mapping[str, Path | None], frechet: Collection[str]) -> dict[str, str]:
    """Return why metrics of DOWNLOADS cannot be measured, by name: no file on this machine, and no network.

    `files` has the file that a user gave for each metric, or None. `frechet` names timm models as NAME or NAME=FILE. If one has
    no file and the hub cannot be reached, the hub's clients are told to use their caches alone, so call this before they are
    imported. A missing package is left to whoever imports it. Takes at most two seconds.
    """
    downloads = {name: DOWNLOADS[name] for name, file in files.items() if file is None and _is_needed(DOWNLOADS[name])}
    with ThreadPoolExecutor() as pool:
        if any(not name.partition("=")[2] for name in frechet):
            pool.submit(use_cache_without_hub)
        answers = dict(zip(downloads, pool.map(is_reachable, [each.url for each in downloads.values()]), strict=True))
    return {
        name: f"The weights of {download.what} are not on this machine, and {urlsplit(download.url).netloc} cannot be "
        f"reached: give their file as {download.option}."
        for name, download in downloads.items()
        if not answers[name]
    }


def _is_needed(download: Download) -> bool:
    cached = Path(torch.hub.get_dir()) / "checkpoints" / download.url.rpartition("/")[2]
    return importlib.util.find_spec(download.package) is not None and not cached.is_file()
