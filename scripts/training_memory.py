"""How much of the activations a training step keeps for its backward pass, of a config on CUDA; no GPU is needed.

    python scripts/training_memory.py configs/vqgan-f16.yaml --out results/training_memory.json

Shapes and types are those of CUDA under autocast, without values (a fake device). Counted are the tensors that encoder,
decoder, the reconstruction loss, a perceptual network and the discriminator save, each once, without weights: for the config as
it is, with run.activation_checkpointing, and in float32. The quantizer, which sees the latent alone, and what a kernel needs
for itself are left out; attention is counted as it is written out, which the kernels of a GPU do not keep.
"""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import timm
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from vistok.perception.backbones import Backbone
from vistok.perception.distance import FeatureDistance
from vistok.train.config import TrainConfig
from vistok.train.config_file import read_config
from vistok.train.speed import recompute_activations

PERCEPTUAL = "tf_efficientnet_lite0"


@contextmanager
def fake_cuda(low: torch.dtype | None) -> Iterator[None]:
    """Make new tensors fake ones on CUDA in the body, under autocast to `low` if it is given."""
    with FakeTensorMode(), torch.device("cuda"):
        torch.set_autocast_enabled("cuda", low is not None)  # torch.autocast turns itself off without a GPU
        torch.set_autocast_dtype("cuda", low or torch.bfloat16)
        torch.autocast_increment_nesting()
        try:
            yield
        finally:
            torch.autocast_decrement_nesting()
            torch.clear_autocast_cache()
            torch.set_autocast_enabled("cuda", False)


def saved_bytes(config: TrainConfig, batch: int, low: torch.dtype | None, recomputes: bool) -> dict[str, float]:
    """Return the gigabytes (10^9 bytes) that each part of a step keeps, and the total."""
    kept: dict[int, tuple[int, Any]] = {}
    weights: set[int] = set()

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes(), storage
        return tensor

    parts: dict[str, float] = {}

    def note(name: str) -> None:
        parts[name] = sum(size for size, _ in kept.values()) / 1e9 - sum(parts.values())

    with fake_cuda(low):
        architecture, side = config.model.architecture, config.data.size
        networks = SimpleNamespace(encoder=architecture.build_encoder(), decoder=architecture.build_decoder())
        if recomputes:
            recompute_activations(networks)  # type: ignore[arg-type]
        seeing = FeatureDistance(Backbone(timm.create_model(PERCEPTUAL), PERCEPTUAL)).requires_grad_(False).eval()
        modules = [networks.encoder, networks.decoder, seeing.backbone.frozen.network]
        discriminator = config.adversarial.discriminator.build().requires_grad_(False) if config.adversarial else None
        modules += [discriminator] if discriminator else []
        weights |= {weight.untyped_storage()._cdata for module in modules for weight in module.parameters()}
        images = torch.rand(batch, 3, side, side)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            latent = networks.encoder(images)
            note("encoder")
            pixels = networks.decoder(latent)
            note("decoder")
            losses = [(pixels - images).abs().mean()]
            losses.append(seeing(images, pixels).mean())
            note("reconstruction and perceptual losses")
            losses.append(discriminator(pixels).mean() if discriminator else losses[0])
            note("discriminator")
    return {name: round(value, 2) for name, value in parts.items()} | {"total": round(sum(parts.values()), 2)}


def measured(config: TrainConfig, batch: int) -> dict[str, dict[str, float]]:
    """Return `saved_bytes` of each way to train."""
    return {
        "bfloat16": saved_bytes(config, batch, torch.bfloat16, recomputes=False),
        "bfloat16, activation checkpointing": saved_bytes(config, batch, torch.bfloat16, recomputes=True),
        "float32": saved_bytes(config, batch, None, recomputes=False),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--out", type=Path, default=Path("results/training_memory.json"))
    arguments = parser.parse_intermixed_args()
    config = read_config(arguments.config, ["data.train=.", "run.out=.", *arguments.overrides])
    facts = {
        "config": arguments.config.name,
        "overrides": arguments.overrides,
        "images": config.data.batch_size,
        "torch": torch.__version__,
        "gigabytes kept for the backward pass": measured(config, config.data.batch_size),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(facts, indent=1) + "\n")
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
