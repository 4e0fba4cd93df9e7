"""Train the prior: AdamW, a fixed number of steps, the weights of the best check on validation images kept."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...tokenizer.numerics.exact import spread
from ...tokenizer.numerics.float32 import own_numerics
from .code_length import mean_bits
from .frequencies import log_frequencies
from .network import PriorNetwork
from .recipe import Recipe
from .symbols import Alphabet, Symbols
from .windows import Batch, Window, Windows


class Check(NamedTuple):
    """A look at the validation images."""

    step: int
    bits_per_symbol: float


class Trained(NamedTuple):
    """A prior with its best weights."""

    network: PriorNetwork
    checks: list[Check]
    kept: Check


def train(
    network: PriorNetwork,
    windows: Windows,
    train_on: Sequence[int],
    validate_on: Sequence[int],
    steps: int,
    recipe: Recipe,
    seed: int,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Trained:
    """Train a network in place on images by their indices, and return it with the weights of its best check.

    It begins with the smoothed frequencies of the training images, which are the check of step 0. `progress` wraps the steps.
    On a CPU the result is the same with any number of threads.
    """
    device = network.bias.device
    network.bias.data.copy_(log_frequencies(network.alphabet, [windows.images[image] for image in train_on]))
    optimizer = _optimizer(network, recipe)
    parts = training_parts(windows, train_on, recipe, seed)
    looks = {round(steps * index / recipe.checks) for index in range(1, recipe.checks + 1)}
    checks = [Check(0, mean_bits(network, windows, validate_on))]
    kept, best = checks[0], copy.deepcopy(network.state_dict())
    for step in progress(range(1, steps + 1)):
        for group in optimizer.param_groups:
            group["lr"] = group["factor"] * recipe.lr * rate(step, steps, recipe)
        batches = [windows.batch(part, device) for part in next(parts)]
        _step(network, optimizer, batches, recipe, seed * 1_000_003 + step)
        if step in looks:
            checks.append(Check(step, mean_bits(network, windows, validate_on)))
            if checks[-1].bits_per_symbol < kept.bits_per_symbol:
                kept, best = checks[-1], copy.deepcopy(network.state_dict())
    network.load_state_dict(best)
    return Trained(network, checks, kept)


def rate(step: int, steps: int, recipe: Recipe) -> float:
    """Return the fraction of the peak rate at a step, from 1: a linear warmup, then half a cosine to 0 after the last step."""
    warmup = min(100, max(1, round(recipe.warmup * steps)))
    if step <= warmup:
        return step / warmup
    return 0.5 + 0.5 * math.cos(math.pi * (step - warmup) / (steps + 1 - warmup))


def training_parts(windows: Windows, images: Sequence[int], recipe: Recipe, seed: int) -> Iterator[list[list[Window]]]:
    """Yield the windows of each step in parts, without end: a random one of each image, the images in a new order each time."""
    generator = torch.Generator().manual_seed(seed)

    def drawn() -> Iterator[Window]:
        while True:
            for index in torch.randperm(len(images), generator=generator).tolist():
                yield windows.random(images[index], generator)

    ordered = drawn()
    while True:
        yield [[next(ordered) for _ in range(windows.per_part)] for _ in range(recipe.windows)]


def _step(
    network: PriorNetwork, optimizer: torch.optim.Optimizer, batches: list[Batch], recipe: Recipe, seed: int
) -> None:
    """Take one step; each part and the update is calculated by one thread, so that sums do not depend on their number."""
    device, weights = network.bias.device, list(network.parameters())
    threads = torch.get_num_threads()
    count = sum(batch.counted.sum() for batch in batches)

    def gradients(numbered: tuple[int, Batch]) -> tuple[Tensor, ...]:
        index, batch = numbered
        noise = torch.Generator(device).manual_seed(seed * recipe.windows + index)
        with own_numerics(device), torch.enable_grad():
            loss = network(batch, noise).masked_fill(~batch.counted, 0).sum() / count
            return torch.autograd.grad(loss, weights)

    def update(parts: list[tuple[Tensor, ...]]) -> None:
        with own_numerics(device):
            for weight, gradient in zip(weights, zip(*parts, strict=True), strict=True):
                weight.grad = sum(gradient[1:], start=gradient[0])
            nn.utils.clip_grad_norm_(weights, recipe.clip_norm)
            optimizer.step()
            optimizer.zero_grad()

    spread(update, [spread(gradients, list(enumerate(batches)), threads)], threads)


def _optimizer(network: PriorNetwork, recipe: Recipe) -> torch.optim.Optimizer:
    hidden = [weight for name, weight in network.named_parameters() if name.startswith("blocks.") and weight.ndim == 2]
    output = [network.output, *network.output_known]
    chosen = {id(weight) for weight in (*hidden, *output)}
    others = [weight for weight in network.parameters() if id(weight) not in chosen]
    groups = [
        {"params": hidden, "weight_decay": recipe.weight_decay, "factor": 1.0},
        {"params": others, "weight_decay": 0.0, "factor": 1.0},
        {"params": output, "weight_decay": 0.0, "factor": recipe.output_lr},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas)


def build(
    alphabet: Alphabet,
    features: Sequence[Tensor],
    images: Sequence[Symbols],
    recipe: Recipe,
    seed: int,
    device: torch.device,
) -> PriorNetwork:
    """Return a fresh network for images, whose weights are drawn on the CPU from `seed` alone."""
    slots = len(alphabet.slots)
    columns = max(image.columns for image in images)
    rows = max(len(image.values) // slots // image.columns for image in images)
    with torch.random.fork_rng(devices=[]), own_numerics(torch.device("cpu")):
        torch.manual_seed(seed)
        return PriorNetwork(alphabet, features, rows, columns, recipe).to(device)
