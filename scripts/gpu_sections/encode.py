"""Images per second from host memory to tokens, and of the network alone; exact and fast."""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmark_encode import write_images
from vistok.inference.arithmetic import agreement
from vistok.inference.batch_probe import probed_batch
from vistok.inference.fast import FastEncoder, fast_precision
from vistok.tokenizer.numerics.transfer import in_flight

from .check import DEVICE, Check, seconds_of, wall_seconds
from .models import MODELS, Measured

WITHOUT_PROBE = 64


def run(check: Check) -> None:
    """Measure what users get, for each model, of which the largest comes last."""
    for make in MODELS:
        with check.attempt(make.__name__):
            model = make(check.is_small)
            for measure in (exact, probe, fast_compiled):
                with check.attempt(f"{model.name} {measure.__name__}"):
                    measure(check, model)


def exact(check: Check, model: Measured) -> None:
    """Encode exactly from host memory, many images and one."""
    start = model.tokenizer.start_encoding
    images, single = host_images(check, model, 64), host_images(check, model, 1)
    rate(check, model, "exact from host", partial(drain, [images] * rounds(check, model), start), exact=True)
    seconds = wall_seconds(lambda: start(single)())
    check.write(f"{model.name} exact, one image", value=seconds * 1e3, unit="ms", side=model.side)


def probe(check: Check, model: Measured) -> None:
    """Find the batch size, and see how long that takes."""
    if DEVICE.type != "cuda":
        return
    started = time.perf_counter()
    size = probed_batch(model.tokenizer.model, DEVICE, model.side)
    seconds = time.perf_counter() - started
    check.write(f"{model.name} probe", value=seconds, unit="s", batch=size, side=model.side)


def fast_compiled(check: Check, model: Measured) -> None:
    """Encode in bfloat16, compiled, in the batches of the probe: the network alone, then from host memory."""
    size = batch_size(check, model)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()  # which a reset leaves
    encode, seconds = compiled_encoder(model, size, check)
    check.write(compiled_name(check, f"{model.name} compiling"), value=seconds, unit="s", graph_breaks=graph_breaks())
    network_alone(check, model, encode, "fast, network alone", size)
    images = host_images(check, model, size)
    rate(check, model, "fast from host", partial(drain, [images] * rounds(check, model), encode.start), batch=size)
    if model.name == "photo-f8":
        with check.attempt("photo-f8 fast tokens"):
            same_tokens(check, model, encode)


def same_tokens(check: Check, model: Measured, encode: FastEncoder) -> None:
    """Write the fraction of the tokens of photos that the fast encoder shares with the exact one."""
    with tempfile.TemporaryDirectory() as folder:
        paths = write_images(Path(folder), 2 if check.is_small else 16)
        images = torch.stack([torch.from_numpy(np.array(Image.open(path))) for path in paths])
    same = agreement(lambda batch: model.tokenizer.start_encoding(batch)(), encode, [images])
    check.write("photo-f8 fast tokens that are the exact ones", value=same, unit="of 1")


def batch_size(check: Check, model: Measured) -> int:
    """Return the batch size of the probe, which has been measured, or one in its place if that failed."""
    if check.is_small:
        return 2
    with check.attempt(f"{model.name} batch size"):
        return probed_batch(model.tokenizer.model, DEVICE, model.side)
    return WITHOUT_PROBE


def compiled_encoder(model: Measured, size: int, check: Check) -> tuple[FastEncoder, float]:
    """Return a compiled encoder, with --small one that is not, after its first batch, and the seconds that took."""
    precision = fast_precision(DEVICE, compiled=not check.is_small, batch_size=size)
    started = time.perf_counter()
    encode = FastEncoder(model.tokenizer.model, DEVICE, precision)
    encode(host_images(check, model, size))
    return encode, time.perf_counter() - started


def compiled_name(check: Check, name: str) -> str:
    """Return the name of a measurement of what is compiled; with --small, where nothing is, it says so."""
    return f"{name} (--small: not compiled)" if check.is_small else name


@torch.inference_mode()
def network_alone(check: Check, model: Measured, encode: FastEncoder, name: str, size: int, **facts: object) -> None:
    """Measure encoder and search on images that are on the device."""
    images = host_images(check, model, size).to(DEVICE)
    seconds = seconds_of(partial(encode._network, images), repeats=1 if check.is_small else 5)
    write_rate(check, model, name, len(images) / seconds, batch=size, **facts)


def rate(check: Check, model: Measured, name: str, work: Callable[[], int], **facts: object) -> None:
    """Write the images per second of work that returns how many images went through."""
    counts = []
    seconds = wall_seconds(lambda: counts.append(work()))
    write_rate(check, model, name, counts[-1] / seconds, **facts)


def write_rate(
    check: Check, model: Measured, name: str, value: float, flop: float | None = None, **facts: object
) -> None:
    """Write images per second, with the TFLOP/s of the network."""
    teraflop = value * (flop or model.encoder_flop) / 1e12
    check.write(f"{model.name} {name}", value=value, unit="images/s", tflops=teraflop, side=model.side, **facts)


def drain(batches: list[Tensor], start: Callable[[Tensor], Callable[[], Tensor]]) -> int:
    """Encode batches one after another and return how many images they had."""
    return sum(len(tokens) for tokens in in_flight(map(start, batches)))


def host_images(check: Check, model: Measured, count: int) -> Tensor:
    """Return different random images `b h w c` in ordinary memory."""
    count = min(count, 2) if check.is_small else count
    return torch.randint(256, (count, model.side, model.side, 3), dtype=torch.uint8)


def rounds(check: Check, model: Measured) -> int:
    """Return how many batches make a measurement of about a second."""
    return 2 if check.is_small else 16 if model.name == "photo-f8" else 4


def graph_breaks() -> int:
    """Return how often the compiler had to leave the program since its counters were cleared."""
    return sum(torch._dynamo.utils.counters["graph_break"].values())
