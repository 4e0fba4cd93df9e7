"""Names of the weights of a VQModel of diffusers, by vistok's names of those of a convolutional tokenizer."""

from torch import Tensor

LAYERS = {
    "shortcut": "conv_shortcut",
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "out": "to_out.0",
    "norm": "group_norm",
}
OUTSIDE = {"quantizer_in": "quant_conv", "quantizer_out": "post_quant_conv"}
TABLE = {"quantizer.codebook.table": "quantize.embedding.weight"}
PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
"""Linear layers there, 1 x 1 convolutions here."""
SIDES = {"encoder": ("down_blocks", "downsamplers"), "decoder": ("up_blocks", "upsamplers")}


def renamed(weights: dict[str, Tensor], attention: dict[str, set[int]], middle_attention: bool) -> dict[str, Tensor]:
    """Return the weights under the names that a VQModel has.

    `attention` has the levels with attention of `encoder` and `decoder`, counted in the order of computation.
    """
    found = {_their_name(name, attention, middle_attention): value for name, value in weights.items()}
    return {
        name: value.flatten(1) if name.removesuffix(".weight").endswith(PROJECTIONS) and value.ndim == 4 else value
        for name, value in found.items()
    }


def _their_name(name: str, attention: dict[str, set[int]], middle_attention: bool) -> str:
    part, _, rest = name.partition(".")
    if part not in SIDES:
        return TABLE.get(name) or f"{OUTSIDE[part]}.{rest}"
    kind, _, inside = rest.partition(".")
    blocks, resamplers = SIDES[part]
    if kind == "middle":
        index, _, layer = inside.partition(".")
        return f"{part}.mid_block.{_block(int(index), middle_attention)}.{_layer(layer)}"
    if kind != "levels":
        return f"{part}.{rest.replace('norm_out', 'conv_norm_out')}"
    position, _, layer = inside.partition(".")
    level, is_resampler = divmod(int(position), 2)
    if is_resampler:
        return f"{part}.{blocks}.{level}.{resamplers}.0.{layer}"
    _, index, layer = layer.split(".", 2)
    return f"{part}.{blocks}.{level}.{_block(int(index), level in attention[part])}.{_layer(layer)}"


def _block(index: int, has_attention: bool) -> str:
    """Return the name of a layer of a level, where attention follows each block, or the first block of the middle."""
    if not has_attention:
        return f"resnets.{index}"
    return f"{'attentions' if index % 2 else 'resnets'}.{index // 2}"


def _layer(name: str) -> str:
    layer, _, parameter = name.rpartition(".")
    return f"{LAYERS.get(layer, layer)}.{parameter}"
