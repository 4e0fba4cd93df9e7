"""The eye on the codebook: usage, perplexity and distortion over the tokens since the last line of the log."""

from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from ..tokenizer.model import Reconstruction
from ..tokenizer.quantizers import Quantizer
from ..tokenizer.usage import codebook_usage, count_tokens, distortion


class CodebookMonitor:
    """Counts codes over a window of steps and over all processes; its state goes into the checkpoint."""

    def __init__(self, quantizer: Quantizer, accelerator: Accelerator):
        self._quantizer = quantizer
        self._accelerator = accelerator
        self._counts = torch.zeros(
            quantizer.num_codebooks, quantizer.vocab_size, dtype=torch.int64, device=accelerator.device
        )
        self._distortion = torch.zeros((), device=accelerator.device)
        self._steps = 0
        self._revived = 0

    def observe(self, output: Reconstruction, revived: int = 0) -> None:
        """Count the tokens of one step, and the codes that were revived in it; nothing is read from the device."""
        self._counts += count_tokens(output.tokens, self._quantizer.vocab_size)
        self._distortion += distortion(self._quantizer.project(output.latent.detach()), output.quantized)
        self._steps += 1
        self._revived += revived

    def summarise(self) -> dict[str, float]:
        """Return the window's statistics by log path and begin a new window; every process must call it."""
        counts = self._accelerator.reduce(self._counts, reduction="sum")
        mean_distortion = self._accelerator.reduce(self._distortion / max(1, self._steps), reduction="mean")
        assert isinstance(counts, Tensor) and isinstance(mean_distortion, Tensor)
        usages = codebook_usage(counts)
        values = {
            "codebook/usage": sum(usage.usage for usage in usages) / len(usages),
            "codebook/perplexity": sum(usage.perplexity for usage in usages) / len(usages),
            "codebook/dead": sum(usage.dead for usage in usages) / len(usages),
            "codebook/distortion": float(mean_distortion),
            "codebook/tokens": int(counts[0].sum()),
            "codebook/revived": self._revived,
        }
        self._counts.zero_()
        self._distortion.zero_()
        self._steps = self._revived = 0
        return values

    def state_dict(self) -> dict[str, Any]:
        return {"counts": self._counts, "distortion": self._distortion, "steps": self._steps, "revived": self._revived}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._counts.copy_(state["counts"])
        self._distortion.copy_(state["distortion"])
        self._steps = state["steps"]
        self._revived = state["revived"]
