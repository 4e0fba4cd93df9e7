"""The eye on the codebook: what the tokens since the last line of the log say about it."""

from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor

from ..tokenizer.quantizers import Quantizer
from ..tokenizer.shapes import Latent, Tokens
from ..tokenizer.usage import codebook_usage, count_tokens, distortion, no_counts
from .alarms import CodebookAlarms


class Seen(NamedTuple):
    """What one step shows of the quantizer, over all of its micro-batches; without gradients."""

    latent: Latent
    """What went in."""
    quantized: Latent
    """What came out."""
    tokens: Tokens


class Window(NamedTuple):
    """What a window of steps amounts to."""

    values: dict[str, float]
    """Statistics by log path."""
    alarms: list[str]
    """What has begun to go wrong, in sentences."""


FITS = ("distortion", "length_ratio", "obtuse")
"""How codes fit latents: mean squared distance a channel, mean of |q|/|z|, share of positions where z.q < 0."""


class CodebookMonitor:
    """Counts codes over a window of steps and over all processes; its state goes into the checkpoint."""

    def __init__(self, quantizer: Quantizer, accelerator: Accelerator):
        self._quantizer = quantizer
        self._accelerator = accelerator
        self._counts = no_counts(quantizer.num_codebooks, quantizer.vocab_size, accelerator.device)
        self.last_counts = self._counts.cpu().clone()
        """Counts `q k` of the last whole window, over all processes, on the CPU."""
        self._fit = torch.zeros(len(FITS), device=accelerator.device)
        self._steps = 0
        self._revived = 0
        self._alarms = CodebookAlarms()

    def observe(self, seen: Seen, revived: int = 0) -> None:
        """Count the tokens of one step, and the codes that were revived in it; nothing is read from the device."""
        self._counts += count_tokens(seen.tokens, self._quantizer.vocab_size)
        self._fit += _fit(self._quantizer.project(seen.latent), seen.quantized)
        self._steps += 1
        self._revived += revived

    def summarise(self, step: int, seen: Seen) -> Window:
        """Return the window that ends at `step` and begin a new one; every process must call it.

        Of several codebooks, usage is over the window for each; how each fits is measured on the latents of `seen`, with
        the codes as they are now. There are no alarms about a quantizer that does not learn.
        """
        counts = self._accelerator.reduce(self._counts, reduction="sum")
        several = self._quantizer.num_codebooks > 1
        fits = torch.stack(
            [self._fit / max(1, self._steps), *(_fits_by_codebook(self._quantizer, seen) if several else [])]
        )
        fits = self._accelerator.reduce(fits, reduction="mean")
        assert isinstance(counts, Tensor) and isinstance(fits, Tensor)
        self.last_counts = counts.cpu()
        usages = codebook_usage(self.last_counts)
        overall, *by_codebook = (dict(zip(FITS, fit, strict=True)) for fit in fits.tolist())
        perplexity = sum(usage.perplexity for usage in usages) / len(usages)
        values = {
            "usage": sum(usage.usage for usage in usages) / len(usages),
            "perplexity": perplexity,
            "perplexity_share": perplexity / self._quantizer.vocab_size,
            "dead": sum(usage.dead for usage in usages) / len(usages),
            **overall,
            "tokens": int(counts[0].sum()),
            "revived": self._revived,
        }
        for number, fit in enumerate(by_codebook):
            values |= {f"{number}/{name}": value for name, value in {**usages[number]._asdict(), **fit}.items()}
        values = {f"codebook/{name}": value for name, value in values.items()}
        self._counts.zero_()
        self._fit.zero_()
        self._steps = self._revived = 0
        codes = self._quantizer.vocab_size
        return Window(values, self._alarms.check(step, values, codes) if self._quantizer.training else [])

    def state_dict(self) -> dict[str, Any]:
        return {"last_counts": self.last_counts, "alarms": self._alarms.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.last_counts = state["last_counts"].cpu()
        self._alarms.load_state_dict(state["alarms"])

    def own_state_dict(self) -> dict[str, Any]:
        return {"counts": self._counts, "fit": self._fit, "steps": self._steps, "revived": self._revived}

    def load_own_state_dict(self, state: dict[str, Any]) -> None:
        self._counts.copy_(state["counts"])
        self._fit.copy_(state["fit"])
        self._steps, self._revived = state["steps"], state["revived"]


def _fit(point: Latent, code: Latent) -> Tensor:
    """Return FITS of latents, as they are compared, and their codes."""
    point, code = point.detach().float(), code.detach().float()
    ratio = code.norm(dim=1) / point.norm(dim=1).clamp_min(1e-6)
    obtuse = ((point * code).sum(dim=1) < 0).float()
    return torch.stack([distortion(point, code), ratio.mean(), obtuse.mean()])


@torch.no_grad()
def _fits_by_codebook(quantizer: Quantizer, seen: Seen) -> list[Tensor]:
    """Return FITS of each codebook, with the latent that it sees."""
    parts = quantizer.parts(seen.latent)
    return [_fit(part.quantizer.project(part.latent), part.quantizer(part.latent).latent) for part in parts]
