"""What alarms advise: only what the quantizer of the run has."""

from typing import NamedTuple

from ...tokenizer.quantizers import Quantizer
from .shared_codebooks import can_set_codes

KMEANS = "codebook.initialization: kmeans"
REVIVAL = "codebook.revive_every"
LOWER_LR = "a lower optimizer.lr"
MORE_COMMITMENT = "a higher losses.commitment"
MORE_ENTROPY = "a higher losses.codebook_entropy"
NO_SCALE = "gradient straight_through or rotation_no_scale"
STRAIGHT_THROUGH = "gradient straight_through until the codebook fits"
OTHERS = "the quantizers simvq or fsq"
THE_OTHER = "the quantizer fsq"
WITH_REVIVAL = "ema with codebook.revive_every"
FSQ = "fsq"


class Remedies(NamedTuple):
    """What a quantizer has that can be changed."""

    can_set: bool
    """Whether codes can be set one by one, as initialization and revival do."""
    loss_names: tuple[str, ...] = ()
    is_straight_through: bool = True
    """Whether the gradient is copied from code to latent."""
    name: str = ""

    def joined(self, *wanted: str) -> str:
        """Return those of some remedies that the quantizer takes, as a list; a lower learning rate if it takes none."""
        fits = {
            KMEANS: self.can_set,
            REVIVAL: self.can_set,
            OTHERS: self.can_set and self.name != "simvq",
            THE_OTHER: self.can_set and self.name == "simvq",
            WITH_REVIVAL: not self.can_set,
            MORE_COMMITMENT: "commitment" in self.loss_names,
            MORE_ENTROPY: "codebook_entropy" in self.loss_names,
            NO_SCALE: not self.is_straight_through,
            STRAIGHT_THROUGH: not self.is_straight_through,
            FSQ: self.name != "fsq",
        }
        *first, last = [remedy for remedy in wanted if fits.get(remedy, True)] or [LOWER_LR]
        return ", ".join([*first, f"or {last}"]) if first else last


def remedies_for(quantizer: Quantizer) -> Remedies:
    """Return what a quantizer has."""
    configs = [each.config for each in (quantizer, *quantizer.codebooks())]
    gradients = {getattr(config, "gradient", "straight_through") for config in configs}
    return Remedies(
        can_set_codes(quantizer), quantizer.loss_names, gradients == {"straight_through"}, quantizer.config.name
    )
