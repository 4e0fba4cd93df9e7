"""Write a quantizer, train a tokenizer with it, and use the export.

    python examples/train_own_quantizer.py tests/photos --out runs/ternary

The quantizer is the smallest there is: each channel becomes -1, 0 or 1. docs/extend/quantizer.md explains the contract.
"""

import argparse
from typing import Literal

import torch

import vistok
from vistok.tokenizer.quantizers import QUANTIZERS, Quantized, QuantizerConfig, SingleQuantizer, with_gradient_of
from vistok.train.config_file import read_config
from vistok.train.loop import train


class TernaryConfig(QuantizerConfig):
    """Three levels per channel."""

    name: Literal["ternary"] = "ternary"
    dim: int
    """Latent channels: 3 ** dim codes."""

    def build(self) -> "TernaryQuantizer":
        return TernaryQuantizer(self)


class TernaryQuantizer(SingleQuantizer):
    """Rounds tanh of each channel; the straight-through estimator passes the gradient."""

    loss_names = ()
    is_bounded = True

    def __init__(self, config: TernaryConfig):
        super().__init__()
        self.config, self.dim, self.vocab_size = config, config.dim, 3**config.dim

    def quantize(self, latent):
        bounded = self.to_code_space(latent)
        digits = bounded.round()
        tokens = sum((digit.long() + 1) * 3**index for index, digit in enumerate(digits.unbind(1)))
        return Quantized(with_gradient_of(digits, bounded), tokens.unsqueeze(1), {}), []

    def codes_of(self, tokens):
        return torch.cat([tokens // 3**index % 3 - 1 for index in range(self.dim)], dim=1).float()

    def to_code_space(self, latent):
        return latent.float().tanh()

    def for_inference(self):
        return self.config, TernaryQuantizer(self.config).eval()


QUANTIZERS["ternary"] = TernaryConfig  # from here on the name works in YAML, in errors and in exported folders


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos")
    parser.add_argument("--out", default="runs/ternary")
    parser.add_argument("--steps", type=int, default=100)
    arguments = parser.parse_args()

    overrides = ["model.quantizer={name: ternary, dim: 8}", "losses={l2: 1.0}", f"data.train={arguments.photos}"]
    exported = train(read_config("debug", [*overrides, f"run.out={arguments.out}", f"run.steps={arguments.steps}"]))

    tok = vistok.load(exported)
    tokens = tok.encode(arguments.photos + "/coffee.jpg")
    print(f"{exported}: {tok.vocab_size} codes, {tokens.unique().numel()} of them in coffee.jpg")


if __name__ == "__main__":
    main()
