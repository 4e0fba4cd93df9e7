"""When codes are initialized and revived: the main process draws them and sends them to the others, so that all agree."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, Any, Literal

import torch
from accelerate import Accelerator
from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from ...evaluation.usage import count_tokens
from ...tokenizer.config import Config
from ...tokenizer.model import hardness_at
from ...tokenizer.quantizers import Quantizer
from ...tokenizer.quantizers.vector.kmeans import kmeans, usable_vectors
from ...tokenizer.shapes import Latent
from .monitor import QuantizerIO
from .shared_codebooks import (
    broadcast_codes,
    can_set_codes,
    forget_rows,
    revive_codes,
    revive_where,
    seen_vectors,
    shared_codebooks,
)


class CodebookConfig(Config):
    """How the codes of a vector quantizer are initialized and kept in use."""

    initialization: Literal["random", "kmeans"] = "random"
    """Where the codes start: random, or k-means centres of the latents of the first images."""
    kmeans_iterations: Annotated[int, Field(ge=1)] = 10
    """Steps of Lloyd's algorithm."""
    vectors_per_code: Annotated[int, Field(ge=1)] = 16
    """Latent vectors that k-means gets for each code, if the images of the run are enough."""
    revive_every: Annotated[int, Field(ge=0)] = 0
    """Steps after which codes that were not used once are moved to latents of the last batch; 0 never."""
    harden_steps: Annotated[int, Field(ge=0)] = 0
    """First steps in which the decoder sees a blend that goes from the latent to its code; for every quantizer."""


class CodebookMaintenance:
    """Initializes and revives the codes of a run, each codebook by itself; its state goes into the checkpoint.

    Raises ValueError where the config asks for what the quantizer cannot do.
    """

    def __init__(self, config: CodebookConfig, quantizer: Quantizer, accelerator: Accelerator, seed: int):
        wanted = config.initialization != "random" or config.revive_every > 0
        if wanted and not can_set_codes(quantizer):
            raise ValueError(
                "codebook asks for initialisation or revival, but this quantizer has no codes that can be set one by one: "
                "remove the section, or use vq, ema, or simvq with a linear or diagonal projection."
            )
        self._config = config
        self._quantizer = quantizer
        self._accelerator = accelerator
        self._generator = torch.Generator().manual_seed(seed)
        codes = quantizer.vocab_size if config.revive_every else 0
        # Never hashed, however many they are: a code takes more memory than its count.
        self._counts = torch.zeros(quantizer.num_codebooks, codes, dtype=torch.int64, device=accelerator.device)

    @torch.no_grad()
    def initialize(self, batches: Iterable[Latent], report: Callable[[int], None] = lambda _: None) -> None:
        """Set the codes from as many latents as the config asks for; every process must call it, each with its own.

        `report` gets the number of `rounds` done, on the main process.
        """
        if self._config.initialization == "random":
            return
        latents, rounds = self._enough(batches), self._config.kmeans_iterations
        # A level sees what the levels before it leave over, so they are set first.
        for index, (codebook, levels) in enumerate(shared_codebooks(self._quantizer).items()):
            vectors = seen_vectors(self._quantizer, latents, levels, self._accelerator)
            vectors = usable_vectors(vectors, self._quantizer.vocab_size)  # which fails on all processes or none
            if self._accelerator.is_main_process:
                on_round = partial(lambda before, done: report(before + done), index * rounds)
                centres = kmeans(vectors, self._quantizer.vocab_size, rounds, self._generator, on_round)
                codebook.replace(torch.arange(len(centres), device=centres.device), centres)
            broadcast_codes(codebook)

    def hardness(self, step: int) -> float:
        """Return the weight of the codes in what the decoder sees at `step`, in [0, 1]."""
        return hardness_at(step, self._config.harden_steps)

    @property
    def rounds(self) -> int:
        """Rounds of k-means over all codebooks."""
        if self._config.initialization == "random":
            return 0
        return len(shared_codebooks(self._quantizer)) * self._config.kmeans_iterations

    @torch.no_grad()
    def observe(self, step: int, seen: QuantizerIO, optimizer: Optimizer, skip: Tensor | None = None) -> int | Tensor:
        """Count the codes of one step and, every `revive_every` steps, revive dead ones; return how many were revived.

        With `skip`, a boolean scalar, nothing waits for the device, and nothing counts or revives where it is true.
        """
        if self._config.revive_every == 0:
            return 0
        count_tokens(self._counts, seen.tokens, self._quantizer.vocab_size, skip)
        if step % self._config.revive_every:
            return 0
        counts = self._accelerator.reduce(self._counts, reduction="sum")
        total: int | Tensor = 0
        shared = shared_codebooks(self._quantizer)
        # All before the first is revived, which would change what later levels see.
        vectors = [
            seen_vectors(self._quantizer, [seen.latent], levels, self._accelerator) for levels in shared.values()
        ]
        for (codebook, levels), candidates in zip(shared.items(), vectors, strict=True):
            dead = sum(counts[level] for level in levels) == 0  # a list of indices would be copied to the device
            if skip is None:
                dead = dead.nonzero().flatten()[: len(candidates)]
                if not len(dead):
                    continue
            else:
                dead &= ~skip & (dead.cumsum(dim=0) <= len(candidates))
            if self._accelerator.is_main_process:
                revive = revive_codes if skip is None else revive_where
                revive(codebook, dead, candidates, self._generator)
            broadcast_codes(codebook)
            for parameter in codebook.row_parameters():
                forget_rows(optimizer, parameter, dead)
            total = total + (len(dead) if skip is None else dead.sum())
        self._counts.zero_()
        return total

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._generator.set_state(state["generator"].cpu())

    def rank_state_dict(self) -> dict[str, Any]:
        return {"counts": self._counts}

    def load_rank_state_dict(self, state: dict[str, Any]) -> None:
        if state["counts"].shape == self._counts.shape:  # else revival was turned on or off since
            self._counts.copy_(state["counts"])

    def _enough(self, batches: Iterable[Latent]) -> list[Latent]:
        wanted = self._config.vectors_per_code * self._quantizer.vocab_size
        latents: list[Latent] = []
        collected = 0
        for batch in batches:
            latents.append(batch)
            collected += batch.shape[0] * batch.shape[2:].numel() * self._accelerator.num_processes
            if collected >= wanted:
                break
        return latents
