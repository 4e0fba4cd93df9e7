"""What every quantizer of the arena is measured on: an autoencoder without a quantizer, and its latents."""

import argparse
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from arena.entries import DIM
from vistok.images.preprocessing import to_pixels
from vistok.tokenizer.devices import multiplies_bfloat16
from vistok.tokenizer.files import write_whole
from vistok.tokenizer.networks.convolutional import ConvolutionalConfig
from vistok.tokenizer.preprocessing import PreprocessingConfig
from vistok.train.data.batches import training_batches
from vistok.train.data.config import DataConfig, SourceConfig
from vistok.train.data.crops import TrainingCrops
from vistok.train.data.read_images import ImageReader
from vistok.train.data.source_images import SourceImages
from vistok.train.data.unreadable_images import UnreadableLimit
from vistok.train.optimizer.config import OptimizerConfig
from vistok.train.optimizer.routing import assign_parameters, build_optimizer

ARCHITECTURE = ConvolutionalConfig.model_validate(
    {
        "stem": 4,
        "norm": "pixel",
        "resampling": "shuffle",
        "latent_channels": DIM,
        "encoder": {"channels": [64, 128], "blocks": [1, 1], "middle": False},
        "decoder": {"channels": [64, 128], "blocks": [1, 2], "middle": False},
    }
)


class Autoencoder(nn.Module):
    """Encoder and decoder around a latent that is standardised a channel at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = ARCHITECTURE.build_encoder(), ARCHITECTURE.build_decoder()
        self.register_buffer("mean", torch.zeros(1, DIM, 1, 1))
        self.register_buffer("deviation", torch.ones(1, DIM, 1, 1))

    def hidden_matrices(self) -> set[str]:
        parts = {"encoder": self.encoder, "decoder": self.decoder}
        return {f"{part}.{name}" for part, network in parts.items() for name in network.hidden_matrices()}

    def encode(self, pixels: Tensor) -> Tensor:
        return (self.encoder(pixels) - self.mean) / self.deviation

    def decode(self, latent: Tensor) -> Tensor:
        return self.decoder(latent * self.deviation + self.mean)


class Example(NamedTuple):
    """Images `b h w c`, uint8, and their latents."""

    images: Tensor
    latent: Tensor

    @property
    def pixels(self) -> Tensor:
        """The images in [-1, 1]."""
        return to_pixels(self.images).contiguous(memory_format=torch.channels_last)


class Stage(NamedTuple):
    """What every row is measured on."""

    model: Autoencoder
    latents: Tensor
    """Training latents `n d`."""
    adaptation: list[Example]
    """Batches that the decoder is adapted on."""
    held_out: list[Example]


def crops(train: list[str], size: int, batch: int, steps: int, seed: int) -> Iterable[Tensor]:
    """Return uint8 batches of random crops."""
    data = DataConfig.model_validate({"train": train, "size": size, "batch_size": batch, "cached_images": 10_000})
    return (batch.crops for batch in training_batches(TrainingCrops(data, seed), 0, steps, 0, 1))


def descend(
    model: Autoencoder, config: OptimizerConfig, steps: int, batches: Iterable[tuple[Tensor, Callable[[], Tensor]]]
) -> None:
    """Descend the mean squared error of answers to pixels: a step for each pair of pixels and function that answers."""
    optimizer = build_optimizer(assign_parameters(model, config), config)
    half = multiplies_bfloat16(torch.device("cpu"))
    for step, (pixels, answer) in enumerate(batches, 1):
        for group in optimizer.param_groups:
            group["lr"] = config.lr * config.lr_ratio(step, steps)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            answered = answer()
        loss = (answered.float() - pixels).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def autoencoder(train: list[str], steps: int, path: Path) -> Autoencoder:
    """Train the autoencoder, or read it from `path`; raise ValueError when that one was trained otherwise."""
    settings = {"train": train, "steps": steps, "architecture": ARCHITECTURE.model_dump_json()}
    torch.manual_seed(0)
    model = Autoencoder().to(memory_format=torch.channels_last)
    if path.exists():
        kept = torch.load(path, weights_only=True)
        before = dict(kept.get("settings", {}))
        if "architecture" in before:  # a file that was written before the config had some field has the default of it
            before["architecture"] = ConvolutionalConfig.model_validate_json(before["architecture"]).model_dump_json()
        if before != settings:
            raise ValueError(
                f"{path} holds an autoencoder of other --train, --autoencoder-steps or architecture: remove it, or name "
                "another file with --autoencoder."
            )
        model.load_state_dict(kept["state"])
        return model.eval().requires_grad_(False)
    pixels = (
        to_pixels(batch).contiguous(memory_format=torch.channels_last) for batch in crops(train, 64, 32, steps, 0)
    )
    config = OptimizerConfig(lr=2e-3, warmup=min(100, steps // 4))
    descend(model, config, steps, ((x, lambda x=x: model.decode(model.encode(x))) for x in pixels))
    model.eval().requires_grad_(False)
    raw = torch.cat([model.encoder(to_pixels(batch)) for batch in crops(train, 128, 16, 40, seed=1)])
    model.mean.copy_(raw.mean(dim=(0, 2, 3), keepdim=True))
    model.deviation.copy_(raw.std(dim=(0, 2, 3), keepdim=True))
    content = BytesIO()
    torch.save({"settings": settings, "state": model.state_dict()}, content)
    write_whole(path, content.getvalue())
    return model


@torch.no_grad()
def set_up(arguments: argparse.Namespace) -> Stage:
    """Make the autoencoder and all latents, once for all rows."""
    with torch.enable_grad():
        model = autoencoder(arguments.train, arguments.autoencoder_steps, arguments.autoencoder)
    latents = [as_rows(model.encode(to_pixels(batch))) for batch in crops(arguments.train, 128, 16, arguments.crops, 3)]
    adaptation = list(crops(arguments.train, 64, 32, arguments.adapt_steps, seed=2)) if arguments.adapt_steps else []
    held_out = SourceImages().of(SourceConfig(path=arguments.val))[: arguments.val_images]
    reader = ImageReader(PreprocessingConfig(), ARCHITECTURE.downsample)
    images = reader.readable(held_out, UnreadableLimit(stop_at_first=True, max_fraction=0), print)
    return Stage(
        model,
        torch.cat(latents),
        [Example(batch, model.encode(to_pixels(batch))) for batch in adaptation],
        [Example(image[None], model.encode(to_pixels(image[None]))) for image in images],
    )


def as_rows(latent: Tensor) -> Tensor:
    """Return the positions of a latent as rows `n d`."""
    return rearrange(latent, "b d y x -> (b y x) d")
