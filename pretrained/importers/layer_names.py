"""What the projects call the layers of their convolutional networks."""

from collections.abc import Mapping
from typing import NamedTuple

from ...tokenizer.networks.convolutional import ConvolutionalConfig
from ...tokenizer.networks.levels import StackConfig

MAX_BLOCKS = 128
TAMING_PARTS = {"shortcut": "nin_shortcut", "query": "q", "key": "k", "value": "v", "out": "proj_out"}


def numbered(name: str) -> tuple[str, ...]:
    """Return names with the indices from 0 in place of {}, more than a checkpoint has."""
    return tuple(name.format(index) for index in range(MAX_BLOCKS))


class LayerNames(NamedTuple):
    """Names of layers, with {} for an index; the defaults are those of taming-transformers."""

    encoder_level: str = "encoder.down.{}"
    decoder_level: str = "decoder.up.{}"
    coarsest_first: bool = False
    """Whether the decoder's list begins with the coarsest grid."""
    block: str = "block.{}"
    """A residual block in its level."""
    attention: str = "attn.{}"
    """An attention block in its level."""
    downsample: str = "downsample.conv"
    """The convolution between levels of the encoder, in the finer one."""
    upsample: str = "upsample.conv"
    """The convolution between levels of the decoder, in the coarser one."""
    middle_blocks: tuple[str, ...] = ("mid.block_1", "mid.block_2")
    """Residual blocks at the coarsest grid; a checkpoint may have fewer."""
    middle_attention: str = "mid.attn_1"
    """Attention after the first of them."""
    adaptive_norm: str = "adaptive.{}"
    """Adaptive normalisation before a level of the decoder."""
    norm_out: str = "norm_out"
    """Last normalisation of the encoder and of the decoder."""
    parts: Mapping[str, str] = TAMING_PARTS
    """Layers within a block: vistok's name and theirs."""

    def level(self, side: str, index: int, count: int) -> str:
        """Return the name of a level of `encoder` or `decoder`, counted from 0 for the finest of `count` levels."""
        if side == "encoder":
            return self.encoder_level.format(index)
        return self.decoder_level.format(count - 1 - index if self.coarsest_first else index)

    def modules(self, config: ConvolutionalConfig) -> dict[str, str]:
        """Return the names of blocks and single layers: vistok's and the checkpoint's."""
        modules = {"quantizer_in": "quant_conv", "quantizer_out": "post_quant_conv"}
        for side, stack in (("encoder", config.encoder), ("decoder", config.decoder)):
            modules[f"{side}.norm_out"] = f"{side}.{self.norm_out}"
            first, *others = self.middle_blocks[: stack.middle_blocks]
            middle = [first, *[self.middle_attention] * stack.middle_attention, *others]
            modules |= {f"{side}.middle.{index}": f"{side}.{name}" for index, name in enumerate(middle)}
            modules |= self._levels(side, stack)
        return modules

    def _levels(self, side: str, stack: StackConfig) -> dict[str, str]:
        modules = {}
        count = len(stack.channels)
        for index in range(count):
            theirs = self.level(side, index, count)
            position = index if side == "encoder" else count - 1 - index  # in order of computation
            ours = f"{side}.levels.{2 * position}.layers"
            has_attention = index in stack.attention
            for block in range(stack.blocks[index]):
                modules[f"{ours}.{block * (1 + has_attention)}"] = f"{theirs}.{self.block.format(block)}"
                if has_attention:
                    modules[f"{ours}.{2 * block + 1}"] = f"{theirs}.{self.attention.format(block)}"
            resampler = self.downsample if side == "encoder" else self.upsample
            modules[f"{side}.levels.{2 * position + 1}.conv"] = f"{theirs}.{resampler}"
            modules[f"{side}.adaptive_norms.{position}"] = f"{side}.{self.adaptive_norm.format(index)}"
        return modules

    def their_name(self, name: str, modules: Mapping[str, str]) -> str:
        """Return the checkpoint's name of the tensor that vistok calls `name`, which lies in one of `modules` or in none."""
        for ours, theirs in modules.items():
            if name.startswith(f"{ours}."):
                part, dot, parameter = name.removeprefix(f"{ours}.").rpartition(".")
                return f"{theirs}.{self.parts.get(part, part)}{dot}{parameter}"
        return name


def renamed(name: str, names: Mapping[str, str]) -> str:
    """Return a name with its beginning replaced, if that is a key of `names`; the first that fits counts."""
    ours = next((ours for ours in names if name.startswith(ours)), "")
    return names.get(ours, "") + name.removeprefix(ours)
