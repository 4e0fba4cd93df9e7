"""Tell apart the families that share the names of taming-transformers, but not how they choose codes or see pixels.

    family     code        pixels    levels with attention   blocks   loss.*   model_ema.*
    taming     nearest     [-1, 1]   yes; LDM's f4: no       1 to 3   yes      no
    chameleon  nearest     [-1, 1]   no                      2        maybe    no
    ibq        max dot     [-1, 1]   yes                     4        yes      yes
    emu3.5     max dot     [-1, 1]   yes                     4        no       no
    muse       nearest     [0, 1]    no; nor in the middle   2        no       no

Where a checkpoint fits several rows, each of these families says that it may be its own, and the user is asked.
"""

from collections.abc import Callable
from typing import NamedTuple

from .base import Shapes
from .code_choice import CODEBOOK

LATENT_DIFFUSION_DIM = 4
"""Codes of latent diffusion have 3 or 4 channels, those of the others many more."""
PUBLISHED_TAMING = ((1024, 256), (16384, 256))
"""Codes and their channels of taming's f16 models, which many have stored without the loss."""
PUBLISHED_CHAMELEON = (8192, 256)
IBQ_CHANNELS = 128
"""Channels of IBQ's first layer; Emu3.5 has twice as many."""
MANY_BLOCKS = 4


class TamingNames(NamedTuple):
    """What names and shapes say of a checkpoint with the names of taming-transformers."""

    has_decoder: bool
    has_level_attention: bool
    has_middle_attention: bool
    has_loss: bool
    is_averaged: bool
    blocks: int
    """Residual blocks of the encoder's first level."""
    channels: int
    """Channels of the first layer."""
    table: tuple[int, int]
    """Codes and their channels."""

    def may_be_taming(self) -> bool:
        if not self.has_decoder or not self.has_middle_attention or self.is_averaged:
            return False
        if self.table[1] <= LATENT_DIFFUSION_DIM:
            return True
        if not self.has_level_attention:
            return self.has_loss and self.table != PUBLISHED_CHAMELEON
        return self.has_loss or self.blocks < MANY_BLOCKS

    def may_be_chameleon(self) -> bool:
        has_middle_only = self.has_middle_attention and not self.has_level_attention
        return has_middle_only and not self.is_averaged and self.table[1] > LATENT_DIFFUSION_DIM

    def may_be_ibq(self) -> bool:
        if not self.has_decoder or not self.has_level_attention or self.table[1] <= LATENT_DIFFUSION_DIM:
            return False
        if self.is_averaged:
            return True
        if self.blocks < MANY_BLOCKS:
            return not self.has_loss and self.table not in PUBLISHED_TAMING
        return self.has_loss or self.channels == IBQ_CHANNELS

    def may_be_emu35(self) -> bool:
        is_plain = self.has_decoder and not self.has_loss and not self.is_averaged
        return is_plain and self.has_level_attention and self.blocks >= MANY_BLOCKS

    def may_be_muse(self) -> bool:
        return self.has_decoder and not self.has_middle_attention and not self.is_averaged


def taming_names(shapes: Shapes) -> TamingNames | None:
    """Return what names and shapes say, or None if the layers, the codebook or their order are not those of taming."""
    needed = ("encoder.down.0.block.0.conv1.weight", "encoder.mid.block_1.conv1.weight", "quant_conv.weight", CODEBOOK)
    # The decoder of transformers' Janus begins with the coarsest level.
    if any(name not in shapes for name in needed) or "decoder.up.0.upsample.conv.weight" in shapes:
        return None
    if any(".qkv." in name for name in shapes):
        return None
    return TamingNames(
        has_decoder="decoder.up.0.block.0.conv1.weight" in shapes,
        has_level_attention=any(name.startswith("encoder.down.") and ".attn." in name for name in shapes),
        has_middle_attention="encoder.mid.attn_1.q.weight" in shapes,
        has_loss=any(name.startswith("loss.") for name in shapes),
        is_averaged=any(name.startswith("model_ema.") for name in shapes),
        blocks=sum(name.startswith("encoder.down.0.block.") and name.endswith("conv1.weight") for name in shapes),
        channels=shapes["encoder.down.0.block.0.conv1.weight"][1],
        table=(shapes.rows(CODEBOOK), shapes.rows("quant_conv.weight")),
    )


def by_taming_names(rule: Callable[[TamingNames], bool]) -> Callable[[Shapes], bool]:
    """Return the rule that a checkpoint has a layout if it has taming's names and `rule` holds for what they say."""

    def recognises(shapes: Shapes) -> bool:
        names = taming_names(shapes)
        return names is not None and rule(names)

    return recognises
