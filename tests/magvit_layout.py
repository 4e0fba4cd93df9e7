"""Names and shapes of published checkpoints without attention, from their hyper-parameters."""


def magvit_shapes(channels, blocks, latent, is_adaptive=True):
    """Return those of Open-MAGVIT2, WeTok and SimVQ; `channels` are the levels' from the finest."""
    return _network(channels, blocks, latent, _MAGVIT) | (_adaptive(channels, latent) if is_adaptive else {})


def maskgit_shapes(channels, blocks, latent, codes):
    """Return those of MaskGIT."""
    return _network(channels, blocks, latent, _MASKGIT) | {"quantize.embedding.weight": (codes, latent)}


_MAGVIT = {
    "middle": "mid_block",
    "down": "downsample",
    "up": "upsample.conv1",
    "up_factor": 4,
    "output_shortcut": False,
}
_MASKGIT = {"middle": "mid", "down": None, "up": "upsample_conv", "up_factor": 1, "output_shortcut": True}


def _network(channels, blocks, latent, kind):
    count = len(channels)
    shapes = {"encoder.conv_in.weight": (channels[0], 3, 3, 3)}
    shapes |= _convolution("encoder.conv_out", channels[-1], latent, 1)
    shapes |= _convolution("decoder.conv_in", latent, channels[-1])
    shapes |= _convolution("decoder.conv_out", channels[0], 3)
    for side, end in (("encoder", channels[-1]), ("decoder", channels[0])):
        shapes |= {f"{side}.norm_out.{part}": (end,) for part in ("weight", "bias")}
        for block in range(blocks):
            shapes |= _block(f"{side}.{kind['middle']}.{block}", channels[-1], channels[-1], kind)
    for level, width in enumerate(channels):
        for block in range(blocks):
            finer, coarser = channels[max(level - 1, 0)], channels[min(level + 1, count - 1)]
            shapes |= _block(f"encoder.down.{level}.block.{block}", width if block else finer, width, kind)
            shapes |= _block(f"decoder.up.{level}.block.{block}", width if block else coarser, width, kind)
        if level < count - 1 and kind["down"]:
            shapes |= _convolution(f"encoder.down.{level}.{kind['down']}", width, width)
        if level > 0:
            shapes |= _convolution(f"decoder.up.{level}.{kind['up']}", width, width * kind["up_factor"])
    return shapes


def _block(name, entering, width, kind):
    shapes = {f"{name}.conv1.weight": (width, entering, 3, 3), f"{name}.conv2.weight": (width, width, 3, 3)}
    for norm, channels in (("norm1", entering), ("norm2", width)):
        shapes |= {f"{name}.{norm}.{part}": (channels,) for part in ("weight", "bias")}
    if entering != width:
        source = width if kind["output_shortcut"] else entering
        shapes[f"{name}.nin_shortcut.weight"] = (width, source, 1, 1)
    return shapes


def _convolution(name, entering, width, kernel=3):
    return {f"{name}.weight": (width, entering, kernel, kernel), f"{name}.bias": (width,)}


def _adaptive(channels, latent):
    entering = [*channels[1:], channels[-1]]
    return {
        f"decoder.adaptive.{level}.{layer}.{part}": (width, latent) if part == "weight" else (width,)
        for level, width in enumerate(entering)
        for layer in ("gamma", "beta")
        for part in ("weight", "bias")
    }
