"""The machine, its versions, what is missing, and the ceilings that everything else is compared with."""

import importlib.metadata
import importlib.util
import os
import platform
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch

from .check import DEVICE, Check, seconds_of

NEEDED = (
    *(
        "accelerate",
        "braceexpand",
        "einops",
        "huggingface_hub",
        "jaxtyping",
        "numpy",
        "PIL",
        "pydantic",
        "yaml",
        "rich",
    ),
    *("safetensors", "tensorboard", "timm", "torch", "torchmetrics", "typer"),
)
USEFUL = ("beartype", "pytest", "hypothesis", "torchcodec", "triton", "vector_quantize_pytorch", "webdataset")


def run(check: Check) -> None:
    """Write the environment, then the ceilings."""
    check.write("environment", **facts())
    ceilings = {
        "bf16 product": partial(product, torch.bfloat16, check.is_small),
        "float32 product": partial(product, torch.float32, check.is_small),
        "device copy": partial(device_copy, check.is_small),
        "host to device": partial(host_copy, check.is_small, True),
        "device to host": partial(host_copy, check.is_small, False),
        "host memory": partial(staging, check.is_small),
        "jpeg decoding": partial(decoding, check.is_small),
    }
    for name, measure in ceilings.items():
        with check.attempt(name):
            value, unit = measure()
            check.write(name, value=value, unit=unit, ceiling=True)


def facts() -> dict[str, object]:
    """Return the card, the versions, and the packages that are missing."""
    found = {"python": platform.python_version(), "torch": torch.__version__, "cores": len(os.sched_getaffinity(0))}
    if DEVICE.type == "cuda":
        properties = torch.cuda.get_device_properties(DEVICE)
        found |= {
            "card": properties.name,
            "memory_gb": round(properties.total_memory / 1e9, 1),
            "processors": properties.multi_processor_count,
            "capability": list(torch.cuda.get_device_capability(DEVICE)),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
        with os.popen("nvidia-smi --query-gpu=driver_version --format=csv,noheader") as answer:
            found["driver"] = answer.read().strip()
    else:
        found["card"] = platform.machine()
    versions = {}
    for name in ("triton", "timm", "accelerate", "vector-quantize-pytorch", "pillow"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    missing = {
        kind: [name for name in names if importlib.util.find_spec(name) is None]
        for kind, names in {"needed": NEEDED, "useful": USEFUL}.items()
    }
    return found | {"versions": versions, "missing": missing}


def product(dtype: torch.dtype, is_small: bool) -> tuple[float, str]:
    """Return the TFLOP/s of a square product of random matrices, 8,192 wide, without tf32."""
    torch.set_float32_matmul_precision("highest")
    width = 256 if is_small else 8192
    left, right = (torch.randn(width, width, device=DEVICE, dtype=dtype) for _ in range(2))
    out = torch.empty_like(left)
    seconds = seconds_of(lambda: torch.mm(left, right, out=out), repeats=5)
    return 2 * width**3 / seconds / 1e12, "TFLOP/s"


def device_copy(is_small: bool) -> tuple[float, str]:
    """Return the bytes read and written per second by a copy within the memory of the device."""
    source = torch.randint(256, (1 << (22 if is_small else 32),), dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    return 2 * source.numel() / seconds_of(lambda: target.copy_(source), repeats=3) / 1e12, "TB/s"


def host_copy(is_small: bool, to_device: bool) -> tuple[float, str]:
    """Return the bytes per second between pinned memory and the device."""
    size = 1 << (22 if is_small else 29)
    host = torch.empty(size, dtype=torch.uint8, pin_memory=DEVICE.type == "cuda")
    there = torch.empty(size, dtype=torch.uint8, device=DEVICE)
    target, source = (there, host) if to_device else (host, there)
    return size / seconds_of(lambda: target.copy_(source, non_blocking=True)) / 1e9, "GB/s"


def staging(is_small: bool) -> tuple[float, str]:
    """Return the bytes per second that the host copies from ordinary into pinned memory."""
    size = 1 << (22 if is_small else 28)
    source = torch.randint(256, (size,), dtype=torch.uint8)
    pinned = torch.empty(size, dtype=torch.uint8, pin_memory=DEVICE.type == "cuda")
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        pinned.copy_(source)
        seconds.append(time.perf_counter() - started)
    return size / min(seconds) / 1e9, "GB/s"


def decoding(is_small: bool) -> tuple[float, str]:
    """Return the JPEG files of 256 x 256 per second that processes decode, one process per core."""
    from benchmark_encode import write_images

    cores, each = len(os.sched_getaffinity(0)), 20 if is_small else 400
    with tempfile.TemporaryDirectory() as folder:
        paths = write_images(Path(folder), 20 if is_small else 200)
        with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
            list(pool.map(decode_files, [paths[:1]] * 2 * cores))
            started = time.perf_counter()
            list(pool.map(decode_files, [(paths * 20)[:each]] * cores))
            return cores * each / (time.perf_counter() - started), "images/s"


def decode_files(paths: list[Path]) -> int:
    """Decode files as tokenize-images does."""
    from vistok.images.preprocessing import load_pixels
    from vistok.tokenizer.preprocessing import PreprocessingConfig

    config = PreprocessingConfig(size=256)
    return sum(load_pixels(path.read_bytes(), config, 8).pixels.size > 0 for path in paths)
