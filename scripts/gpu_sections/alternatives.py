"""What might be faster: layouts, batch sizes, settings of cuDNN, modes of the compiler; as many as there is time for."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch

from vistok.inference import fast
from vistok.inference.batch_probe import SIZES
from vistok.inference.fast import FastEncoder, fast_precision
from vistok.tokenizer.numerics import layout
from vistok.tokenizer.numerics.float32 import own_numerics

from .check import DEVICE, Check, seconds_of
from .encode import compiled_encoder, compiled_name, network_alone, write_rate
from .models import Measured, llamagen, photo_f8

LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
SECONDS_OF_A_COMPILATION = 45


def run(check: Check) -> None:
    """Measure the cheap ones of both models first."""
    models = [make(check.is_small) for make in (photo_f8, llamagen)]
    for measure in (exact_settings, eager_layouts, compiled_layouts, compile_modes):
        for model in models:
            with check.attempt(f"{model.name} {measure.__name__}"):
                measure(check, model)


def exact_settings(check: Check, model: Measured) -> None:
    """Measure what exactness costs: each layout, with the settings of cuDNN that would be faster, at other batch sizes."""
    for name, form in LAYOUTS.items():
        own = fast.encoder_alone(model.tokenizer.model, torch.float32, form)
        for count in (2,) if check.is_small else (16, 32, 64):
            shape = count, 3, model.side, model.side
            pixels = torch.rand(shape, device=DEVICE).contiguous(memory_format=form)
            for deterministic, benchmark in ((True, False), (False, False), (True, True)):
                if count != 16 and (benchmark or not deterministic):
                    continue
                with own_numerics(DEVICE), cudnn(deterministic, benchmark):
                    seconds = seconds_of(partial(own.encode_latent, pixels), rounds=3)
                facts = {"layout": name, "batch": count, "deterministic": deterministic, "benchmark": benchmark}
                write_rate(check, model, "float32 network alone", count / seconds, **facts)


def eager_layouts(check: Check, model: Measured) -> None:
    """Measure the network in bfloat16 operator by operator, in each layout and batch size."""
    for size in (2,) if check.is_small else SIZES[:4]:
        for name, form in LAYOUTS.items():
            with chosen("half", form):
                precision = fast_precision(DEVICE, compiled=False, batch_size=size)
                encode = FastEncoder(model.tokenizer.model, DEVICE, precision)
            network_alone(check, model, encode, "fast, not compiled, network alone", size, layout=name)


def compiled_layouts(check: Check, model: Measured) -> None:
    """Measure the compiled network in the other layout, and at other batch sizes."""
    for name, form in reversed(LAYOUTS.items()):
        for size in (2,) if check.is_small else (128, 16, 64):
            if check.seconds_left() < SECONDS_OF_A_COMPILATION and not check.is_small:
                return
            torch._dynamo.reset()
            with chosen("compiled", form):
                encode, _ = compiled_encoder(model, size, check)
            network_alone(check, model, encode, compiled_name(check, "compiled, network alone"), size, layout=name)


def compile_modes(check: Check, model: Measured) -> None:
    """Measure other modes of the compiler, among them CUDA graphs, which help where batches are small."""
    for mode, size in (("reduce-overhead", 16), ("reduce-overhead", 128), ("max-autotune-no-cudagraphs", 128)):
        if check.is_small or check.seconds_left() < 2 * SECONDS_OF_A_COMPILATION:
            return
        torch._dynamo.reset()
        before, fast.COMPILE_MODE = fast.COMPILE_MODE, mode
        try:
            encode, _ = compiled_encoder(model, size, check)
            network_alone(check, model, encode, "compiled, network alone", size, mode=mode)
        finally:
            fast.COMPILE_MODE = before


@contextmanager
def chosen(way: layout.Way, form: torch.memory_format) -> Iterator[None]:
    """Lay out networks that are made inside as `form`."""
    before, layout._ON_OTHERS[way] = layout._ON_OTHERS[way], form
    try:
        yield
    finally:
        layout._ON_OTHERS[way] = before


@contextmanager
def cudnn(deterministic: bool, benchmark: bool) -> Iterator[None]:
    """Let cuDNN choose its algorithms otherwise."""
    backend = torch.backends.cudnn
    before = backend.deterministic, backend.benchmark
    backend.deterministic, backend.benchmark = deterministic, benchmark
    try:
        yield
    finally:
        backend.deterministic, backend.benchmark = before
