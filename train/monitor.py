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


class CodebookMonitor:
    """Counts codes over a window of steps and over all processes; its state goes into the checkpoint."""

    def __init__(self, quantizer: Quantizer, accelerator: Accelerator):
        self._quantizer = quantizer
        self._accelerator = accelerator
        self._counts = no_counts(quantizer.num_codebooks, quantizer.vocab_size, accelerator.device)
        self.last_counts = self._counts.cpu().clone()
        """Counts `q k` of the last whole window, over all processes, on the CPU."""
        self._distortion = torch.zeros((), device=accelerator.device)
        self._steps = 0
        self._revived = 0
        self._alarms = CodebookAlarms()

    def observe(self, seen: Seen, revived: int = 0) -> None:
        """Count the tokens of one step, and the codes that were revived in it; nothing is read from the device."""
        self._counts += count_tokens(seen.tokens, self._quantizer.vocab_size)
        self._distortion += distortion(self._quantizer.project(seen.latent), seen.quantized)
        self._steps += 1
        self._revived += revived

    def summarise(self, step: int, seen: Seen) -> Window:
        """Return the window that ends at `step` and begin a new one; every process must call it.

        Lengths and angles are those of the step itself, `seen`.
        """
        counts = self._accelerator.reduce(self._counts, reduction="sum")
        means = torch.stack([self._distortion / max(1, self._steps), *_geometry(self._quantizer, seen)])
        means = self._accelerator.reduce(means, reduction="mean")
        assert isinstance(counts, Tensor) and isinstance(means, Tensor)
        self.last_counts = counts.cpu()
        usages = codebook_usage(self.last_counts)
        mean_distortion, length_ratio, obtuse = means.tolist()
        values = {
            "codebook/usage": sum(usage.usage for usage in usages) / len(usages),
            "codebook/perplexity": sum(usage.perplexity for usage in usages) / len(usages),
            "codebook/dead": sum(usage.dead for usage in usages) / len(usages),
            "codebook/distortion": mean_distortion,
            "codebook/length_ratio": length_ratio,
            "codebook/obtuse": obtuse,
            "codebook/tokens": int(counts[0].sum()),
            "codebook/revived": self._revived,
        }
        values["codebook/perplexity_share"] = values["codebook/perplexity"] / self._quantizer.vocab_size
        for number, usage in enumerate(usages if len(usages) > 1 else []):
            values |= {f"codebook/{number}/{name}": value for name, value in usage._asdict().items()}
        self._counts.zero_()
        self._distortion.zero_()
        self._steps = self._revived = 0
        return Window(values, self._alarms.check(step, values, self._quantizer.vocab_size))

    def state_dict(self) -> dict[str, Any]:
        return {
            "counts": self._counts,
            "last_counts": self.last_counts,
            "distortion": self._distortion,
            "steps": self._steps,
            "revived": self._revived,
            "alarms": self._alarms.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._counts.copy_(state["counts"])
        self.last_counts = state["last_counts"].cpu()
        self._distortion.copy_(state["distortion"])
        self._steps = state["steps"]
        self._revived = state["revived"]
        self._alarms.load_state_dict(state["alarms"])


def _geometry(quantizer: Quantizer, seen: Seen) -> list[Tensor]:
    """Return the mean of |q|/|z|, and the share of positions whose z and q stand at an obtuse angle."""
    point, code = quantizer.project(seen.latent).float(), seen.quantized.float()
    ratio = code.norm(dim=1) / point.norm(dim=1).clamp_min(1e-6)
    return [ratio.mean(), ((point * code).sum(dim=1) < 0).float().mean()]
