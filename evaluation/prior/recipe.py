"""The recipe of the prior, one for all tokenizers."""

from typing import NamedTuple


class Recipe(NamedTuple):
    """Model, training and the division of the images. Figures compare only where the recipe is the same."""

    width: int = 192
    depth: int = 6
    """Pre-norm blocks; with six of width 192 they have 2.7 M parameters."""
    heads: int = 6
    context: int = 512
    """Symbols that the transformer sees at once; longer images are coded in windows, each half new."""
    windows: int = 2
    """Windows of a training step, or as many windows' worth of shorter images: 1,024 symbols with a context of 512."""
    lr: float = 2e-3
    """Peak rate of AdamW, after a linear warmup and before a cosine decay to 0."""
    output_lr: float = 0.1
    """Factor of the rate of the output matrix: Adam moves all its rows at once, also those of rare codes."""
    warmup: float = 0.1
    """Fraction of the steps, at most 100 of them."""
    weight_decay: float = 0.1
    """Of matrices; tables, gains and biases have none."""
    betas: tuple[float, float] = (0.9, 0.95)
    clip_norm: float = 1.0
    dropout: float = 0.1
    """Of the embeddings and of what each half of a block adds."""
    checks: int = 5
    """Times that the loss on the validation images is measured; the weights with the lowest are kept."""
    held_out: float = 0.2
    """Fraction of the images whose bits are counted, at most MAX_HELD_OUT images."""
    validation: float = 0.1
    """Fraction of the images that choose the weights, at most MAX_VALIDATION images."""


RECIPE = Recipe()
MAX_HELD_OUT = 256
MAX_VALIDATION = 64
MAX_VALIDATION_SYMBOLS = 1 << 14
"""Beyond the first image, validation images are left out that would need more, since they are looked at many times."""
MIN_IMAGES = 10
"""Two held out, one for validation and seven to train on."""
MAX_WHOLE = 1 << 14
"""Max codes of a codebook that are predicted whole; with more, a token is predicted as several digits."""
MAX_DIGIT = 1 << 12
"""Max values of such a digit."""
