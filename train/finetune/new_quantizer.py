"""The new quantizer of a fine-tuning: another one, or the old one with more codes."""

import torch

from ...tokenizer.config import parse_choice
from ...tokenizer.folder.save_load import LoadedTokenizer
from ...tokenizer.quantizers import QUANTIZERS, Quantizer, QuantizerConfig
from ...tokenizer.quantizers.vector.codebooks import Codebook
from ...tokenizer.shapes import Vectors
from ..codebook.maintenance import CodebookConfig
from ..codebook.shared_codebooks import can_set_codes, codebook_of
from .config import FinetuneConfig
from .swap_quantizer import as_latent


def new_quantizer_config(config: FinetuneConfig, before: LoadedTokenizer) -> QuantizerConfig:
    """Return the config of the new quantizer; raise ValueError if it cannot be fitted, or the old one cannot grow."""
    old = before.model.quantizer
    if config.grow_to is not None:
        name = before.config.quantizer.name
        if _growable_codebook(old) is None:
            raise ValueError(
                f"grow_to is {config.grow_to}, but the quantizer of {config.model}, {name}, has no codebook whose codes can "
                "be set: swap it with --quantizer."
            )
        if config.grow_to <= old.vocab_size:
            raise ValueError(
                f"grow_to is {config.grow_to}, but {config.model} has {old.vocab_size} codes already: give a larger number."
            )
        grown = {**before.config.quantizer.model_dump(), "codebook_size": config.grow_to}
        return parse_choice(QUANTIZERS, grown, "quantizer")
    quantizer = config.quantizer
    assert quantizer is not None
    if quantizer.build().needs_grid:
        raise ValueError(
            f"quantizer is {quantizer.name}, which needs whole grids and cannot be fitted to latents: train it with "
            "train-tokenizer and model.init_from."
        )
    # The decoder knows the latents of a bounded quantizer behind tanh, so distances must be measured there too.
    return quantizer.model_copy(update=quantizer.behind_tanh if old.is_bounded else {})


def codebook_config(quantizer: Quantizer, latents: int) -> CodebookConfig:
    """Return k-means and revival for codes that can be set; raise ValueError if there are fewer latents than codes."""
    if not can_set_codes(quantizer):
        return CodebookConfig()
    vectors_per_code = latents // quantizer.vocab_size
    if vectors_per_code < 1:
        raise ValueError(
            f"The images give {latents:,} latents for {quantizer.vocab_size:,} codes: give more images, or a smaller "
            "codebook_size."
        )
    return CodebookConfig(initialization="kmeans", vectors_per_code=vectors_per_code, revive_every=50)


@torch.no_grad()
def grow_codebook(quantizer: Quantizer, old: Quantizer, vectors: Vectors, seed: int) -> None:
    """Set the first codes of `quantizer` to those of `old`, and the others to latents far from all of them.

    A latent is drawn with probability proportional to its squared distance to the nearest old code, as in k-means++.
    `old` is in eval mode. Raises ValueError if there are fewer latents than new codes.
    """
    codebook = _growable_codebook(quantizer)
    assert codebook is not None
    codes = old.code_rows(torch.arange(old.vocab_size))
    points = old.to_code_space(as_latent(vectors))[0, :, 0].T
    wanted = quantizer.vocab_size - len(codes)
    if len(points) < wanted:
        raise ValueError(f"The images give {len(points):,} latents for {wanted:,} new codes: give more images.")
    distances = (points - old(as_latent(vectors)).latent[0, :, 0].T).square().sum(dim=1)
    generator = torch.Generator().manual_seed(seed)
    # Weighted sampling without replacement: take the largest log(u) / w (Efraimidis and Spirakis 2006).
    scores = torch.rand(len(points), generator=generator, dtype=torch.float64).log() / (distances.double() + 1e-12)
    chosen = points[scores.topk(wanted).indices]
    codebook.replace(torch.arange(quantizer.vocab_size), torch.cat([codes, chosen]))


def _growable_codebook(quantizer: Quantizer) -> Codebook | None:
    """Return the codebook of a quantizer that takes its size as `codebook_size`, if its codes can be set."""
    codebook = codebook_of(quantizer) if "codebook_size" in type(quantizer.config).model_fields else None
    return codebook if codebook and codebook.can_replace else None
