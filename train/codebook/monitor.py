"""The codebook monitor: usage and fit of the codes since the last line of the log."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor

from ...evaluation.running_covariance import rank_note
from ...evaluation.usage import Usage, codebook_usage, count_tokens, empty_counts, estimate_note
from ...tokenizer.model import Reconstruction
from ...tokenizer.quantizers import Quantizer
from ...tokenizer.shapes import Latent, Tokens
from .alarms import CodebookAlarms, Directions
from .code_match import CodeMatch, match_by_codebook
from .remedies import remedies_for


class QuantizerIO(NamedTuple):
    """Input and output of the quantizer in one step, over all accumulated batches; without gradients."""

    latent: Latent
    quantized: Latent
    """The codes of the tokens, without the noise or the dropout of training."""
    tokens: Tokens


class Window(NamedTuple):
    """Summary of a window of steps."""

    values: dict[str, float]
    """Statistics by log path."""
    alarms: list[str]
    """Sentences about what begins to go wrong."""


@torch.no_grad()
def quantizer_io(quantizer: Quantizer, outputs: Sequence[Reconstruction]) -> QuantizerIO:
    """Return input and output of the quantizer in the forwards of a step; call it before the optimizer moves the codes.

    Where training forwards return the codes themselves, these are from before moving averages moved, and distortion is the
    commitment loss. Where they return noise or a few levels alone, the codes are looked up afterwards.
    """
    latent, quantized, tokens = (
        torch.cat([getattr(output, name).detach() for output in outputs]) for name in QuantizerIO._fields
    )
    return QuantizerIO(latent, quantized if quantizer.returns_codes else quantizer.codes_of(tokens), tokens)


class CodebookMonitor:
    """Counts codes over a window of steps and all processes; its state goes into the checkpoint.

    `directions` is the number of channels of the encoder, where latents vary in no more than these.
    """

    def __init__(self, quantizer: Quantizer, accelerator: Accelerator, directions: int | None = None):
        self._quantizer = quantizer
        self._processes = accelerator.num_processes
        self._sum = partial(accelerator.reduce, reduction="sum")
        self._counts = empty_counts(quantizer.num_codebooks, quantizer.vocab_size, accelerator.device)
        self.last_counts = self._counts.cpu().clone()
        """Counts of the last complete window, over all processes, on the CPU."""
        self._match = CodeMatch(quantizer.dim, accelerator.device)
        self._revived: int | Tensor = 0
        self._directions = directions or quantizer.dim
        self._alarms = CodebookAlarms(quantizer.vocab_size, remedies_for(quantizer))

    def notes(self) -> list[str]:
        """Return sentences about what is estimated or left out because it is too large."""
        notes = [estimate_note(self._counts, self._quantizer.vocab_size), rank_note(self._quantizer.dim)]
        return [*filter(None, notes)]

    def observe(self, seen: QuantizerIO, revived: int | Tensor = 0, skip: Tensor | None = None) -> None:
        """Count the tokens of one step and the codes revived in it, without waiting for the device.

        Where the boolean scalar `skip` is true, nothing is counted.
        """
        count_tokens(self._counts, seen.tokens, self._quantizer.vocab_size, skip)
        self._match.add(self._quantizer.to_code_space(seen.latent), seen.quantized, skip)
        self._revived = self._revived + revived

    def summarise(self, step: int, seen: QuantizerIO) -> Window:
        """Return the window that ends at `step` and begin a new one; every process must call it.

        With several codebooks, the usage of each is over the window; its match is measured on the latents of `seen`, with
        the codes as they are now. There are no alarms about a quantizer that does not learn.
        """
        quantizer = self._quantizer
        self.last_counts = self._sum(self._counts).cpu()
        usages = codebook_usage(self.last_counts, quantizer.vocab_size)
        means = {name: sum(getattr(each, name) for each in usages) / len(usages) for name in Usage._fields}
        values = {
            **means,
            "perplexity_fraction": means["perplexity"] / quantizer.vocab_size,
            **self._match.values(self._sum),
            "tokens": int(self.last_counts[0].sum()),
            "revived": int(self._revived),
        }
        max_codes = min(quantizer.vocab_size**quantizer.num_codebooks, int(values["tokens"]))
        directions = [Directions("codebook", min(quantizer.dim, self._directions), max_codes)]
        if len(usages) > 1:
            matches = match_by_codebook(quantizer, seen.latent)
            max_codes = min(quantizer.vocab_size, seen.tokens[:, 0].numel() * self._processes)
            for index, (usage, match) in enumerate(zip(usages, matches, strict=True)):
                own = usage._asdict() | match.values(self._sum)
                values |= {f"{index}/{name}": value for name, value in own.items()}
                directions.append(Directions(f"codebook/{index}", min(match.channels, self._directions), max_codes))
        values = {f"codebook/{name}": value for name, value in values.items()}
        self._counts.zero_()
        self._match.clear()
        self._revived = 0
        if not quantizer.training:
            return Window(values, [])
        return Window(values, self._alarms.check(step, values, self.last_counts, usages, directions))

    def state_dict(self) -> dict[str, Any]:
        return {"last_counts": self.last_counts, "alarms": self._alarms.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.last_counts = state["last_counts"].cpu()
        self._alarms.load_state_dict(state["alarms"])

    def rank_state_dict(self) -> dict[str, Any]:
        return {"counts": self._counts, "match": self._match.state(), "revived": int(self._revived)}

    def load_rank_state_dict(self, state: dict[str, Any]) -> None:
        self._counts.copy_(state["counts"])
        self._match.load(state["match"])
        self._revived = state["revived"]
