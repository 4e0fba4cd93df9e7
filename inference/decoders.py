"""The decoders of a tokenizer by their names, and what is known of them."""

from typing import NamedTuple

from ..evaluation.rows import headline_figures
from ..tokenizer.decoders.base import PLAIN, DecoderCard
from ..tokenizer.decoders.noise import check_seed
from ..tokenizer.model import VisualTokenizer
from ..tokenizer.wording import pluralize, shown
from .arithmetic import DecoderChoice


class DecoderInfo(NamedTuple):
    """What is known of a decoder; `str()` is a line with the main figures, and what they were measured by."""

    figures: dict[str, float]
    """Figures such as psnr, ssim and perceptual, as they were measured when the decoder, or an extra one, was trained."""
    milliseconds: float | None = None
    """Time to decode one of the images that were measured."""
    images: int | None = None
    """Number of images that the figures are means of."""
    judge: str = ""
    """Images of the measurement, and the network of its perceptual distance, in words."""
    steps: int = 1
    """Passes through the network for one image."""
    error: str = ""
    """Why it cannot be used; empty where it can."""

    def __str__(self) -> str:
        if self.error:
            return self.error
        times = {} if self.milliseconds is None else {"milliseconds": self.milliseconds}
        shown = [f"{label} {text}" for label, text in headline_figures(self.figures | times).items()]
        if not shown:
            return "not measured"
        shown += [f"on {pluralize(self.images, 'image')}"] if self.images else []
        return ", ".join(shown) + (f" ({self.judge})" if self.judge else "")


def chosen_decoder(model: VisualTokenizer, decoder: str, seed: int) -> DecoderChoice:
    """Return a decoder and a seed that can be used; raise ValueError for others."""
    if not isinstance(decoder, str):
        raise ValueError(f"decoder is {shown(decoder)}, but must be a name: give one of tok.decoders.")
    if decoder != PLAIN:
        model.extra_decoder(decoder)
    return DecoderChoice(decoder, check_seed(seed))


def decoder_infos(model: VisualTokenizer) -> dict[str, DecoderInfo]:
    """Return what is known of each decoder, the plain one first; those that could not be loaded come last."""
    extra = {name: model.extra_decoder(name) for name in model.decoders}
    known = next((decoder.card for decoder in extra.values() if decoder.card.plain), DecoderCard())
    found = (
        {PLAIN: DecoderInfo(known.plain, known.plain_milliseconds, known.images, known.judge)}
        if model.has_decoder
        else {}
    )
    for name, decoder in extra.items():
        card = decoder.card
        found[name] = DecoderInfo(card.figures, card.milliseconds, card.images, card.judge, decoder.steps)
    broken = {
        name: DecoderInfo({}, error=reason) for name, reason in model.broken_decoders.items() if name not in found
    }
    return found | broken
