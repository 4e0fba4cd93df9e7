"""When codes are initialised and revived during a run, the same on every process."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, NamedTuple

import torch
from accelerate import Accelerator
from einops import rearrange
from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from ...evaluation.token_counts import count_tokens
from ...tokenizer.config import Config
from ...tokenizer.quantizers import Quantizer
from ...tokenizer.quantizers.hardness import hardness_at
from ...tokenizer.quantizers.vector.codebooks import Codebook
from ...tokenizer.quantizers.vector.initialization import can_set_codes, initialise_codes, revive_codes
from ...tokenizer.quantizers.vector.quantizer import VectorQuantizer
from ...tokenizer.shapes import Latent, Vectors
from .monitor import Seen


class CodebookConfig(Config):
    """How the codes of a vector quantizer are started and kept alive."""

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
    """Keeps the codes of a run alive, of every codebook by itself; its state goes into the checkpoint."""

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
        # One by one however many they are: a row of codes is larger than its count.
        self._counts = torch.zeros(quantizer.num_codebooks, codes, dtype=torch.int64, device=accelerator.device)

    @torch.no_grad()
    def initialize(self, batches: Iterable[Latent], report: Callable[[int], None] = lambda _: None) -> None:
        """Set the codes from as many latents as the config asks for; every process must call it, each with its own.

        `report` is told how many of the `rounds` are done.
        """
        if self._config.initialization == "random":
            return
        wanted = self._config.vectors_per_code * self._quantizer.vocab_size
        latents: list[Tensor] = []
        for batch in batches:
            latents.append(batch)
            if sum(latent.shape[0] * latent.shape[2:].numel() for latent in latents) * self._processes >= wanted:
                break
        # A level sees what the levels before it leave over: each is set before the next is looked at.
        done = 0
        while done < len(shared := self._shared(latents)):
            codebook, vectors = shared[done].codebook, shared[done].vectors
            rounds = self._config.kmeans_iterations
            initialise_codes(codebook, vectors, rounds, self._generator, _from(done * rounds, report))
            done += 1

    def hardness(self, step: int) -> float:
        """Return the weight of the codes in what the decoder sees at `step`, in [0, 1]."""
        return hardness_at(step, self._config.harden_steps)

    @property
    def rounds(self) -> int:
        """Rounds of k-means over all codebooks."""
        codebooks = sum(isinstance(module, Codebook) for module in self._quantizer.modules())
        return codebooks * self._config.kmeans_iterations if self._config.initialization == "kmeans" else 0

    @torch.no_grad()
    def observe(self, step: int, seen: Seen, optimizer: Optimizer) -> int:
        """Count the codes of one step and revive dead ones when it is time; return how many were revived."""
        if self._config.revive_every == 0:
            return 0
        count_tokens(self._counts, seen.tokens, self._quantizer.vocab_size)
        if step % self._config.revive_every:
            return 0
        counts = self._accelerator.reduce(self._counts, reduction="sum")
        assert isinstance(counts, Tensor)
        total = 0
        for codebook, vectors, levels in self._shared([seen.latent]):
            revived = revive_codes(codebook, counts[levels].sum(dim=0), vectors, self._generator)
            for parameter in codebook.row_parameters():
                forget_rows(optimizer, parameter, revived)
            total += len(revived)
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

    @property
    def _processes(self) -> int:
        return self._accelerator.num_processes

    def _gathered(self, latent: Tensor) -> Vectors:
        gathered = self._accelerator.gather(rearrange(latent, "b d y x -> (b y x) d"))
        assert isinstance(gathered, Tensor)
        return gathered

    def _shared(self, latents: list[Tensor]) -> list["_Shared"]:
        """Return each codebook once, with the latents that it sees on all processes and its places along `q`."""
        found: dict[int, _Shared] = {}
        inputs = [self._quantizer.codebook_inputs(latent) for latent in latents]
        for level, (quantizer, *seen) in enumerate(zip(self._quantizer.codebooks(), *inputs, strict=True)):
            if not isinstance(quantizer, VectorQuantizer):
                continue
            vectors = torch.cat([self._gathered(quantizer.to_code_space(part)) for part in seen])
            before = found.get(id(quantizer), _Shared(quantizer.codebook, vectors[:0], []))
            found[id(quantizer)] = _Shared(
                quantizer.codebook, torch.cat([before.vectors, vectors]), [*before.levels, level]
            )
        return list(found.values())


def _from(before: int, report: Callable[[int], None]) -> Callable[[int], None]:
    return lambda done: report(before + done)


class _Shared(NamedTuple):
    """A codebook and what it gets."""

    codebook: Codebook
    vectors: Vectors
    levels: list[int]
    """Its places along `q`: several when levels or groups share it."""


def forget_rows(optimizer: Optimizer, parameter: Tensor, rows: Tensor) -> None:
    """Set to zero what an optimizer remembers (moments, a counter for each row) of some rows of a parameter."""
    for remembered in optimizer.state[parameter].values():
        if isinstance(remembered, Tensor) and remembered.shape[:1] == parameter.shape[:1]:
            remembered[rows] = 0
