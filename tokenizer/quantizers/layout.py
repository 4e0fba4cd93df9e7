"""Latents as rows and as grids, and whether latents and tokens have the right shape."""

import torch
from einops import rearrange
from torch import Tensor

from ..shapes import Latent, Tokens, Vectors


def as_rows(latent: Latent) -> Vectors:
    """Return the positions of a latent as rows `n d`."""
    return rearrange(latent, "b d y x -> (b y x) d")


def as_grid(rows: Tensor, like: Tensor) -> Tensor:
    """Return rows `n d` as `b d y x`, on the grid of a latent or of tokens."""
    b, _, y, x = like.shape  # all of them, since an empty batch leaves none to infer
    return rearrange(rows, "(b y x) d -> b d y x", b=b, y=y, x=x)


def check_latent(latent: Tensor, dim: int) -> None:
    """Raise ValueError unless `latent` is `b d y x` with `dim` channels."""
    if latent.ndim != 4 or latent.shape[1] != dim:
        raise ValueError(
            f"The quantizer got a latent of shape {tuple(latent.shape)}, but takes b d y x with d = {dim}: "
            "change the latent or the quantizer's dim."
        )


def check_tokens(tokens: Tensor, num_codebooks: int, vocab_size: int) -> Tokens:
    """Return tokens as int64; raise ValueError unless they are integer `b q y x` in range.

    This reads the values, so it waits for the device; in a program that is compiled or exported it does not.
    """
    if tokens.ndim != 4 or tokens.shape[1] != num_codebooks:
        raise ValueError(
            f"The quantizer got tokens of shape {tuple(tokens.shape)}, but takes b q y x with q = {num_codebooks}."
        )
    if tokens.dtype == torch.bool or tokens.is_floating_point() or tokens.is_complex():
        raise ValueError(f"The quantizer got tokens of type {tokens.dtype}, but takes integers: use tokens.long().")
    tokens = tokens.long()
    if torch.compiler.is_compiling():
        return tokens
    if tokens.numel() and not (0 <= int(tokens.min()) and int(tokens.max()) < vocab_size):
        raise ValueError(
            f"The quantizer got tokens from {int(tokens.min())} to {int(tokens.max())}, but its codes are 0 to "
            f"{vocab_size - 1}: these tokens come from another tokenizer or carry an offset."
        )
    return tokens
