"""The two halves of a tokenizer as programs: pixels to tokens, and tokens to pixels, with any batch and any grid."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ...tokenizer.model import VisualTokenizer
from ...tokenizer.networks.base import Encoder, NoDecoder
from ...tokenizer.shapes import Pixels, Tokens
from .base import Source

EXAMPLE_GRID = 4, 5
"""Of the images that a program is recorded with: two sizes that are different, and not 1."""
MIN_GRID = 2
"""Min grid of a program, which torch records for sizes of one position by themselves."""


class Halves(NamedTuple):
    """Programs of the encoder, with the quantizer, and of the decoder, with the codes."""

    encoder: ExportedProgram
    decoder: ExportedProgram | None
    image_size: tuple[int, int] | None
    """Height and width of the only images that they take, None for any."""
    token_shape: tuple[int, int, int]
    """`q y x` of the example, or of each image where there is one size alone."""


class _NoEncoder(Encoder):
    """Takes the place of the encoder, so that its weights are not in the decoder's program."""

    def forward(self, pixels: Pixels) -> Tensor:
        raise NotImplementedError

    def hidden_matrices(self) -> list[str]:
        return []


class EncoderHalf(nn.Module):
    """Map pixels `b 3 h w` in [0, 1] to tokens `b q y x`."""

    def __init__(self, model: VisualTokenizer):
        super().__init__()
        self.model = VisualTokenizer(
            *(model.encoder, model.quantizer_in, model.quantizer, nn.Identity(), NoDecoder()),
            architecture=model.architecture,
        )

    def forward(self, pixels: Pixels) -> Tokens:
        """Return the tokens."""
        return self.model.quantizer.quantize(self.model.encode_latent(pixels * 2 - 1))[0].tokens


class DecoderHalf(nn.Module):
    """Map tokens `b q y x` to pixels `b 3 h w` in [0, 1]."""

    def __init__(self, model: VisualTokenizer):
        super().__init__()
        self.model = VisualTokenizer(
            *(_NoEncoder(), nn.Identity(), model.quantizer, model.quantizer_out, model.decoder),
            architecture=model.architecture,
        )

    def forward(self, tokens: Tokens) -> Pixels:
        """Return the pixels; a program cannot refuse tokens that are no codes, so the nearest codes take their place."""
        tokens = tokens.clamp(0, self.model.quantizer.vocab_size - 1)
        return (self.model.decode_latent(self.model.quantizer.codes_of(tokens)).clamp(-1, 1) + 1) / 2


@torch.no_grad()
def halves(source: Source) -> Halves:
    """Record both halves; for a network that takes one size of images alone, with that size.

    Raises an error of torch or of the network where neither can be recorded.
    """
    only_size = source.config.architecture.image_size
    if only_size is not None:
        return _recorded(source, (only_size, only_size))
    try:
        return _recorded(source, None)
    # Of the network, or of torch about a size that became a constant: whatever it is, the next try says it.
    except Exception:
        size = source.config.preprocessing.size
        if not isinstance(size, int):
            raise
        return _recorded(source, (size, size))


def _recorded(source: Source, image_size: tuple[int, int] | None) -> Halves:
    side = source.model.downsample
    height, width = image_size or (side * EXAMPLE_GRID[0], side * EXAMPLE_GRID[1])
    encoder = EncoderHalf(source.model).eval()
    # Noise has more than one code, so that no token is the same by accident.
    pixels = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    tokens = encoder(pixels)
    batch, y, x = Dim("b", min=1), Dim("y", min=MIN_GRID), Dim("x", min=MIN_GRID)
    grids: list[dict[int, Any]] = [{2: side * y, 3: side * x}, {2: y, 3: x}] if image_size is None else [{}, {}]
    decoder = None
    if source.has_decoder:
        decoder = _program(DecoderHalf(source.model).eval(), tokens, {0: batch} | grids[1])
    _, q, grid_y, grid_x = tokens.shape
    return Halves(_program(encoder, pixels, {0: batch} | grids[0]), decoder, image_size, (q, grid_y, grid_x))


def _program(module: nn.Module, example: Tensor, sizes: dict[int, Any]) -> ExportedProgram:
    return torch.export.export(module, (example,), dynamic_shapes=(sizes,), strict=False)
