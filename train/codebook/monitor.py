"""The eye on the codebook: what the tokens since the last line of the log say about it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor

from ...evaluation.running_covariance import rank_note
from ...evaluation.token_counts import count_tokens, empty_counts, estimate_note
from ...evaluation.usage import Usage, codebook_usage
from ...tokenizer.model import Reconstruction
from ...tokenizer.quantizers import Quantizer
from ...tokenizer.shapes import Latent, Tokens
from .alarms import Channels, CodebookAlarms
from .code_match import Fit, fits_by_codebook
from .shared_codebooks import can_set_codes
from .spread_alarms import Book


class Seen(NamedTuple):
    """What one step shows of the quantizer, over all of its micro-batches; without gradients."""

    latent: Latent
    """What went in."""
    quantized: Latent
    """The codes of the tokens, without the noise or the dropout of training."""
    tokens: Tokens


class Window(NamedTuple):
    """What a window of steps amounts to."""

    values: dict[str, float]
    """Statistics by log path."""
    alarms: list[str]
    """What has begun to go wrong, in sentences."""


@torch.no_grad()
def seen_in(quantizer: Quantizer, outputs: Sequence[Reconstruction]) -> Seen:
    """Return what the forwards of a step showed; call it before the optimizer moves the codes.

    Where a training forward returns the codes, they are those, and distortion is the commitment term; moving averages have
    moved since. Where it returns noise or some levels alone, the codes are looked up, after such a move.
    """
    tokens = torch.cat([output.tokens for output in outputs])
    return Seen(
        latent=torch.cat([output.latent.detach() for output in outputs]),
        quantized=(
            torch.cat([output.quantized.detach() for output in outputs])
            if quantizer.returns_codes
            else quantizer.codes_of(tokens)
        ),
        tokens=tokens,
    )


class CodebookMonitor:
    """Counts codes over a window of steps and over all processes; its state goes into the checkpoint.

    `directions` are the channels of the encoder, when these are fewer than the quantizer's: latents vary in no more.
    """

    def __init__(self, quantizer: Quantizer, accelerator: Accelerator, directions: int | None = None):
        self._quantizer = quantizer
        self._accelerator = accelerator
        self._counts = empty_counts(quantizer.num_codebooks, quantizer.vocab_size, accelerator.device)
        self.last_counts = self._counts.cpu().clone()
        """Counts of the last whole window, over all processes, on the CPU."""
        self._fit = Fit(quantizer.dim, accelerator.device)
        self._revived = 0
        self._directions = directions or quantizer.dim
        self._alarms = CodebookAlarms()

    def notes(self) -> list[str]:
        """Return in sentences what is estimated or left out because it is too large."""
        notes = [estimate_note(self._counts, self._quantizer.vocab_size), rank_note(self._quantizer.dim)]
        return [note for note in notes if note]

    def observe(self, seen: Seen, revived: int = 0) -> None:
        """Count the tokens of one step, and the codes that were revived in it; nothing is read from the device."""
        count_tokens(self._counts, seen.tokens, self._quantizer.vocab_size)
        self._fit.add(self._quantizer.to_code_space(seen.latent), seen.quantized)
        self._revived += revived

    def summarise(self, step: int, seen: Seen) -> Window:
        """Return the window that ends at `step` and begin a new one; every process must call it.

        Of several codebooks, usage is over the window for each; how each fits is measured on the latents of `seen`, with
        the codes as they are now. There are no alarms about a quantizer that does not learn.
        """
        quantizer = self._quantizer
        self.last_counts = self._sum(self._counts).cpu()
        usages = codebook_usage(self.last_counts, quantizer.vocab_size)
        values = {
            **_means(usages),
            "perplexity_fraction": _means(usages)["perplexity"] / quantizer.vocab_size,
            **self._fit.values(self._sum),
            "tokens": int(self.last_counts[0].sum()),
            "revived": self._revived,
        }
        # As many vectors as codes span no more directions than these; levels of one token an image have few.
        most = min(quantizer.vocab_size**quantizer.num_codebooks, int(values["tokens"]))
        channels = [Channels("codebook", min(quantizer.dim, self._directions), most)]
        if len(usages) > 1:
            fits = fits_by_codebook(quantizer, seen.latent)
            most = min(quantizer.vocab_size, seen.tokens[:, 0].numel() * self._accelerator.num_processes)
            for number, (usage, fit) in enumerate(zip(usages, fits, strict=True)):
                own = usage._asdict() | fit.values(self._sum)
                values |= {f"{number}/{name}": value for name, value in own.items()}
                channels.append(Channels(f"codebook/{number}", min(fit.channels, self._directions), most))
        values = {f"codebook/{name}": value for name, value in values.items()}
        self._counts.zero_()
        self._fit.clear()
        self._revived = 0
        if not quantizer.training:
            return Window(values, [])
        return Window(values, self._alarms.check(step, values, self.last_counts, self._books(usages), channels))

    def state_dict(self) -> dict[str, Any]:
        return {"last_counts": self.last_counts, "alarms": self._alarms.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.last_counts = state["last_counts"].cpu()
        self._alarms.load_state_dict(state["alarms"])

    def rank_state_dict(self) -> dict[str, Any]:
        return {"counts": self._counts, "fit": self._fit.state(), "revived": self._revived}

    def load_rank_state_dict(self, state: dict[str, Any]) -> None:
        self._counts.copy_(state["counts"])
        self._fit.load(state["fit"])
        self._revived = state["revived"]

    def _books(self, usages: list[Usage]) -> list[Book]:
        several, can_set = len(usages) > 1, can_set_codes(self._quantizer)
        return [
            Book(f"codebook {number}" if several else "", usage, self._quantizer.vocab_size, can_set)
            for number, usage in enumerate(usages)
        ]

    def _sum(self, value: Tensor) -> Tensor:
        total = self._accelerator.reduce(value, reduction="sum")
        assert isinstance(total, Tensor)
        return total


def _means(usages: list[Usage]) -> dict[str, float]:
    return {
        name: sum(getattr(usage, name) for usage in usages) / len(usages) for name in ("usage", "perplexity", "dead")
    }
