"""ONNX files, which onnxruntime and many other programs run."""

import json
import warnings
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch.export import ExportedProgram

from .base import Exporter, Program, Source, Written
from .halves import halves

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
ONE_FILE = (1 << 31) - (1 << 24)
"""Max bytes of weights in the file itself: protobuf has a limit of 2 GB. More go into a file beside it."""


class OnnxExporter(Exporter):
    """Encoder and decoder as two files with named, dynamic axes."""

    title = "ONNX"
    packages = ("onnx", "onnxscript", "onnxruntime")
    install = "'.[onnx]'"
    usage = """import numpy as np
import onnxruntime

encoder = onnxruntime.InferenceSession("encoder.onnx")
pixels = np.random.rand(1, 3, {height}, {width}).astype(np.float32)  # RGB in [0, 1]
(tokens,) = encoder.run(["tokens"], {{"pixels": pixels}})  # {tokens}, int64
"""
    usage_of_decoder = """decoder = onnxruntime.InferenceSession("decoder.onnx")
(images,) = decoder.run(["pixels"], {{"tokens": tokens}})  # b 3 h w in [0, 1]
"""

    def write(self, source: Source, folder: Path) -> Written:
        parts, side = halves(source), source.model.downsample
        q, y, x = parts.token_shape
        pixels: list[int | str] = ["b", 3, f"{side}*y", f"{side}*x"]
        tokens: list[int | str] = ["b", q, "y", "x"]
        if parts.image_size is not None:
            pixels, tokens = ["b", 3, *parts.image_size], ["b", q, y, x]
        facts = source.facts | {"pixels": "b 3 h w, float32, RGB, black 0, white 1", "tokens": "b q y x, int64"}
        _write(parts.encoder, {"pixels": pixels}, {"tokens": tokens}, facts, folder / ENCODER)
        if parts.decoder is not None:
            _write(parts.decoder, {"tokens": tokens}, {"pixels": pixels}, facts, folder / DECODER)
        files = {"encoder": ENCODER, "encoder weights": f"{ENCODER}.data"}
        files |= {"decoder": DECODER, "decoder weights": f"{DECODER}.data"}
        return Written(
            {what: name for what, name in files.items() if (folder / name).exists()}, (0, 1), parts.image_size
        )

    def load(self, folder: Path) -> Program:
        return Program(
            _runner(folder / ENCODER, "pixels"),
            _runner(folder / DECODER, "tokens") if (folder / DECODER).exists() else None,
        )


Axes: TypeAlias = dict[str, list[int | str]]
"""Sizes or names of the axes, by the name of an input or output."""


def _write(program: ExportedProgram, given: Axes, returned: Axes, facts: dict[str, Any], path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries to one another
        written: Any = torch.onnx.export(
            program, dynamo=True, verbose=False, input_names=list(given), output_names=list(returned)
        )
    values = [*written.model.graph.inputs, *written.model.graph.outputs]
    for value, shape in zip(values, [*given.values(), *returned.values()], strict=True):
        value.shape = type(value.shape)(shape)
    written.model.metadata_props.update({f"vistok.{name}": json.dumps(fact) for name, fact in facts.items()})
    size = sum(value.numel() * value.element_size() for value in program.state_dict.values())
    written.save(path, external_data=size > ONE_FILE)


def _runner(path: Path, name: str) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda values: torch.from_numpy(session.run(None, {name: values.numpy()})[0])
