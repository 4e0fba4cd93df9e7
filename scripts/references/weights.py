"""Random weights with which a reference behaves like a trained one: values near 1, and many codes in use."""

import torch
from torch import Tensor, nn

from .classes import Original


def randomize(found: Original, seed: int) -> None:
    """Give a network weights of its own that keep values near 1: normal, with a standard deviation of inputs ** -0.5.

    The last convolution of the decoder has 0.3 of it, so that nearly all pixels lie between black and white.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in found.model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1:
            parameter.copy_(noise if "embedding" in name else noise * parameter[0].numel() ** -0.5)
        else:
            parameter.copy_(0.1 * noise + name.endswith("weight"))
    for name, statistic in found.model.named_buffers():
        if name.endswith("running_mean"):
            statistic.copy_(0.1 * torch.randn(statistic.shape, generator=generator))
        elif name.endswith("running_var"):
            statistic.copy_(0.5 + torch.rand(statistic.shape, generator=generator))
    if found.has_decoder:
        last = found.model.decoder.conv_out
        last.weight.mul_(0.15 * (1 - found.black))
        last.bias.add_((1 + found.black) / 2)


def spread_codes(found: Original, pixels: Tensor) -> None:
    """Scale the last convolution of the encoder so that the latents of these pixels have mean 0 and deviation 1 per channel.

    Codes are normal with deviation 1, too, so that an image uses many of them.
    """
    latents = found.latents_and_tokens(pixels)[0].transpose(0, 1).flatten(1)
    mean, deviation = latents.mean(dim=1), latents.std(dim=1)
    convolution = getattr(found.model.quant_conv, "conv", found.model.quant_conv)
    convolution.weight.div_(deviation.reshape(-1, *[1] * (convolution.weight.ndim - 1)))
    convolution.bias.sub_(mean).div_(deviation)
    if found.has_unit_codes:
        found.codebook.copy_(nn.functional.normalize(found.codebook, dim=1))
