"""A quantizer as somebody outside the package would write it."""

import copy

import torch

from vistok.tokenizer.quantizers import Quantized, SingleQuantizer, with_gradient_of


class ToyQuantizer(SingleQuantizer):
    """The nearest of a few codes, pulled to the latents by a loss."""

    loss_names = ("pull",)

    def __init__(self, config, dim, codes):
        super().__init__()
        self.config, self.dim, self.vocab_size = config, dim, codes
        self.table = torch.nn.Parameter(torch.randn(codes, dim))

    def quantize(self, latent):
        rows = latent.float().movedim(1, -1)
        tokens = (rows.unsqueeze(-2) - self.table).square().sum(-1).argmin(-1).unsqueeze(1)
        codes = self.codes_of(tokens)
        losses = {"pull": (codes - latent.detach()).square().mean()} if self.training else {}
        return Quantized(with_gradient_of(codes, latent.float()), tokens, losses), []

    def codes_of(self, tokens):
        return self.table[tokens[:, 0]].movedim(-1, 1)

    def to_code_space(self, latent):
        return latent.float()

    def for_inference(self):
        return self.config, copy.deepcopy(self).eval()
