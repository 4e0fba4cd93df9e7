"""When codes are initialised and revived during a run, the same on every process."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import torch
from accelerate import Accelerator
from einops import rearrange
from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from ..tokenizer.config import Config
from ..tokenizer.model import Reconstruction, VisualTokenizer
from ..tokenizer.quantizers import Quantizer
from ..tokenizer.quantizers.care import initialise_codes, revive_codes
from ..tokenizer.quantizers.codebooks import LearnedCodebook
from ..tokenizer.quantizers.vector import VectorQuantizer
from ..tokenizer.shapes import Pixels, Vectors
from ..tokenizer.usage import count_tokens


class CodebookCareConfig(Config):
    """How the codes of a vector quantizer are started and kept alive."""

    initialise: Literal["random", "kmeans"] = "random"
    """Where the codes start: random, or k-means centres of the latents of the first pictures."""
    kmeans_iterations: Annotated[int, Field(ge=1)] = 10
    """Steps of Lloyd's algorithm."""
    vectors_per_code: Annotated[int, Field(ge=1)] = 16
    """Latent vectors that k-means gets for each code, if the pictures of the run are enough."""
    revive_every: Annotated[int, Field(ge=0)] = 0
    """Steps after which codes that were not used once are moved to latents of the last batch; 0 never."""


class CodebookCare:
    """Keeps the codes of a run alive; its state goes into the checkpoint."""

    def __init__(self, config: CodebookCareConfig, quantizer: Quantizer, accelerator: Accelerator, seed: int):
        wanted = config.initialise != "random" or config.revive_every > 0
        if wanted and not isinstance(quantizer, VectorQuantizer):
            raise ValueError(
                "codebook asks for initialisation or revival, but this quantizer has no learned codes: remove the section."
            )
        self._config = config
        self._quantizer = quantizer
        self._accelerator = accelerator
        self._generator = torch.Generator().manual_seed(seed)
        self._counts = torch.zeros(quantizer.vocab_size, dtype=torch.int64, device=accelerator.device)

    @torch.no_grad()
    def initialise(self, model: VisualTokenizer, batches: Iterable[Pixels]) -> None:
        """Set the codes from the latents of `batches`, where the config says so; every process must call it."""
        if self._config.initialise == "random":
            return
        assert isinstance(self._quantizer, VectorQuantizer)
        wanted = self._config.vectors_per_code * self._quantizer.vocab_size
        parts: list[Tensor] = []
        for pixels in batches:
            parts.append(self._vectors(model.encode_latent(pixels)))
            if sum(len(part) for part in parts) >= wanted:
                break
        initialise_codes(self._quantizer.codebook, torch.cat(parts), self._config.kmeans_iterations, self._generator)

    @torch.no_grad()
    def observe(self, step: int, output: Reconstruction, optimizer: Optimizer) -> int:
        """Count the codes of one step and revive dead ones when it is time; return how many were revived."""
        if self._config.revive_every == 0:
            return 0
        assert isinstance(self._quantizer, VectorQuantizer)
        self._counts += count_tokens(output.tokens, self._quantizer.vocab_size)[0]
        if step % self._config.revive_every:
            return 0
        counts = self._accelerator.reduce(self._counts, reduction="sum")
        assert isinstance(counts, Tensor)
        codebook = self._quantizer.codebook
        revived = revive_codes(codebook, counts, self._vectors(output.latent), self._generator)
        if isinstance(codebook, LearnedCodebook):
            forget_rows(optimizer, codebook.table, revived)
        self._counts.zero_()
        return len(revived)

    def state_dict(self) -> dict[str, Any]:
        return {"counts": self._counts, "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._counts.copy_(state["counts"])
        self._generator.set_state(state["generator"].cpu())

    def _vectors(self, latent: Tensor) -> Vectors:
        projected = rearrange(self._quantizer.project(latent), "b d y x -> (b y x) d")
        gathered = self._accelerator.gather(projected)
        assert isinstance(gathered, Tensor)
        return gathered


def forget_rows(optimizer: Optimizer, parameter: Tensor, rows: Tensor) -> None:
    """Set to zero what an optimizer remembers (momentum, second moment) of some rows of a parameter."""
    for remembered in optimizer.state[parameter].values():
        if isinstance(remembered, Tensor) and remembered.shape == parameter.shape:
            remembered[rows] = 0
